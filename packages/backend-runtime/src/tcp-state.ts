// What the kernel says of a socket's connection.
import { native, SOCKET_FACT } from './native.js';

/** Borrows. False when a reset, also one of our own kernel's for want of an answer, has ended the connection (getpeername(2)). */
export const isConnected = (fd: number): boolean =>
  (native().inspectSocket(fd) & SOCKET_FACT.CONNECTED) !== 0;
