// Many clients that have had their answer and stay connected without a word.
import { connect, type Socket } from 'node:net';

/** What each client asks, once. */
export interface Greeting {
  readonly path: string;
  readonly headers: readonly string[];
  /** First line of the answer. */
  readonly expected: string;
}

export interface IdleClients {
  /** Resets the connections: they leave nothing in TIME_WAIT, tcp(7). */
  close(): Promise<void>;
}

export const KEPT_ALIVE: Greeting = { path: '/hello', headers: [], expected: 'HTTP/1.1 200 OK' };

export const WEB_SOCKET: Greeting = {
  path: '/socket',
  headers: [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
  ],
  expected: 'HTTP/1.1 101 Switching Protocols',
};

const OPENED_AT_A_TIME = 100;
/**
 * The clients come from as many addresses of loopback: looking for a free port becomes dear when most of one address are taken, and the
 * kernel does that in whichever process is running.
 */
const ADDRESSES = 8;
const TIMEOUT_MS = 10_000;

/** Resolves when all clients have their answer. @throws when one does not get it; then none stays */
export async function openIdleClients(port: number, count: number, greeting: Greeting): Promise<IdleClients> {
  const sockets: Socket[] = [];
  const close = async (): Promise<void> => {
    const open = sockets.filter(({ closed }) => !closed);
    await Promise.all(
      open.map((socket) => new Promise((resolve) => socket.once('close', resolve).resetAndDestroy())),
    );
  };
  const openSome = async (): Promise<void> => {
    while (sockets.length < count) {
      const localAddress = `127.0.1.${1 + (sockets.length % ADDRESSES)}`;
      const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
      sockets.push(socket);
      await greeted(socket, greeting);
    }
  };
  const opened = await Promise.allSettled(Array.from({ length: OPENED_AT_A_TIME }, openSome));
  const failure = opened.find((each) => each.status === 'rejected');
  if (failure === undefined) return { close };
  await close();
  throw failure.reason;
}

function greeted(socket: Socket, { path, headers, expected }: Greeting): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer in ${TIMEOUT_MS} ms`)));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the server closed an idle client')));
    socket.write([`GET ${path} HTTP/1.1`, 'Host: bench', ...headers, '', ''].join('\r\n'));
    socket.once('data', (answer: Buffer) => {
      if (!answer.toString('latin1').startsWith(`${expected}\r\n`)) {
        return reject(new Error(`unexpected answer: ${answer.toString('latin1')}`));
      }
      socket.setTimeout(0);
      resolve();
    });
  });
}
