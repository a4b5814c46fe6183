// The one table of this package's errors: code, message, scope. Codes are public: they are the `reason` label of the metrics
// and what callers match (`err.code`, not `instanceof`). docs/errors.md lists the same codes; a test holds both together.

import { getSystemErrorName } from 'node:util';

/**
 * How far an error reaches.
 * `call`: the caller's own call failed and nothing else changed.
 * `connection`: one UNIX connection, or one attempt to hand over, failed; the listener or sender goes on.
 * `process`: nothing can be served until somebody changes the set-up.
 */
export type ErrorScope = 'call' | 'connection' | 'process';

interface ErrorEntry {
  readonly scope: ErrorScope;
  /** Names the thing and its limit; arguments are numbers, names from our own tables and kinds, never a header's value. */
  readonly message: (...args: never[]) => string;
}

/** `errno` is positive, as recvmsg(2) leaves it; 0 when the cause was no system call. */
const because = (errno: number): string => (errno === 0 ? '' : ` (${getSystemErrorName(-errno)})`);

/** Every error this package throws or emits. */
export const ERRORS = {
  SCGI_ERR_NETSTRING_LENGTH: {
    scope: 'connection',
    message: (maxDigits: number) =>
      `The message does not begin with a netstring length: 1 to ${maxDigits} decimal digits without leading zeros, then ":". ` +
      'Something that does not speak SCGI may be connected to this socket',
  },
  SCGI_ERR_NETSTRING_COMMA: {
    scope: 'connection',
    message: () => 'The netstring is not closed by ",": its length does not match its payload',
  },
  SCGI_ERR_MESSAGE_TOO_LARGE: {
    scope: 'connection',
    message: (maxMessageBytes: number) =>
      `The message announces more than ${maxMessageBytes} bytes of SCGI headers (maxMessageBytes)`,
  },
  SCGI_ERR_HEADERS_MALFORMED: {
    scope: 'connection',
    message: (headerNumber: number) =>
      `SCGI header number ${headerNumber} is not a non-empty name, NUL, a value, NUL`,
  },
  SCGI_ERR_TOO_MANY_HEADERS: {
    scope: 'connection',
    message: (maxHeaders: number) => `The message has more than ${maxHeaders} SCGI headers (maxHeaders)`,
  },
  SCGI_ERR_HEADER_TOO_LARGE: {
    scope: 'connection',
    message: (headerNumber: number, part: 'name' | 'value', maxBytes: number) =>
      `The ${part} of SCGI header number ${headerNumber} is longer than ${maxBytes} bytes (maxHeaderValueBytes)`,
  },
  SCGI_ERR_DUPLICATE_HEADER: {
    scope: 'connection',
    message: (singletonName: string) =>
      `The SCGI header ${singletonName} occurs more than once. If the sender's configuration adds it, leave that line out`,
  },
  SCGI_ERR_CONTENT_LENGTH_FIRST: {
    scope: 'connection',
    message: () => 'The first SCGI header is not CONTENT_LENGTH, as SCGI demands',
  },
  SCGI_ERR_CONTENT_LENGTH_VALUE: {
    scope: 'connection',
    message: () => `CONTENT_LENGTH is not a decimal number up to ${Number.MAX_SAFE_INTEGER}`,
  },
  SCGI_ERR_DIALECT_MISSING: {
    scope: 'connection',
    message: () => 'The message has no SCGI header named SCGI. With scgi_pass, add: scgi_param SCGI 1;',
  },
  SCGI_ERR_DIALECT: {
    scope: 'connection',
    message: () => 'The SCGI header names no known dialect: it is neither "1+fd_pass" nor "1"',
  },
  SCGI_ERR_VERSION: {
    scope: 'connection',
    message: () =>
      'FD_PASS_VERSION is not "1": the sender speaks a version of the protocol this receiver does not know',
  },
  SCGI_ERR_VIA: {
    scope: 'connection',
    message: (name: string, min: number, max: number) =>
      `${name} of a message that was passed on is not a decimal number from ${min} to ${max}, without leading zeros`,
  },
  SCGI_ERR_RELAY: {
    scope: 'connection',
    message: (wrong: 'comes without FD_PASS_VIA' | 'is no length') =>
      `FD_PASS_RELAY ${wrong}: it is a decimal number up to ${Number.MAX_SAFE_INTEGER} in a relay that was passed on`,
  },
  SCGI_ERR_KTLS_RX: {
    scope: 'connection',
    message: () => 'KTLS_RX is neither "0" nor "1"',
  },
  SCGI_ERR_EARLY_BYTES_TOO_LARGE: {
    scope: 'connection',
    message: (maxEarlyBytes: number) =>
      `The message announces more than ${maxEarlyBytes} early bytes (maxEarlyBytes). ` +
      "Lower the sender's read buffer (in nginx client_header_buffer_size) or raise the limit",
  },
  SCGI_ERR_DECODER_DONE: {
    scope: 'call',
    message: () =>
      'push() was called after the message was complete; what follows belongs to whoever took its `rest`',
  },
  SCGI_ERR_LIMIT_OPTION: {
    scope: 'call',
    message: (name: string, min: number, max: number) =>
      `The option ${name} must be an integer from ${min} to ${max}`,
  },
  SCGI_ERR_ENCODE_NAME: {
    scope: 'call',
    message: () => 'A SCGI header name must not be empty, contain NUL, or contain characters above U+00FF',
  },
  SCGI_ERR_ENCODE_VALUE: {
    scope: 'call',
    message: (headerNumber: number) =>
      `The value of SCGI header number ${headerNumber} contains NUL or characters above U+00FF: encode text as bytes first`,
  },
  SCGI_ERR_ENCODE_RESERVED: {
    scope: 'call',
    message: (name: string) => `${name} is written by the encoder itself: leave it out of the headers`,
  },
  SCGI_ERR_ENCODE_DUPLICATE: {
    scope: 'call',
    message: (singletonName: string) => `The SCGI header ${singletonName} may be given only once`,
  },

  FDPASS_ERR_NO_FD: {
    scope: 'connection',
    message: () => 'The sender announced a descriptor ("1+fd_pass") and sent none beside the message',
  },
  FDPASS_ERR_TOO_MANY_FDS: {
    scope: 'connection',
    message: () =>
      'More descriptors came with one message than may: one, or two in a partial handover that was passed on',
  },
  FDPASS_ERR_CONTROL_TRUNCATED: {
    scope: 'connection',
    message: () =>
      'The kernel cut the ancillary data short and closed descriptors: too many were sent, or this process has no descriptor ' +
      'left (RLIMIT_NOFILE)',
  },
  FDPASS_ERR_UNEXPECTED_FD: {
    scope: 'connection',
    message: () => 'A descriptor came beside a plain SCGI message, which takes none',
  },
  FDPASS_ERR_FD_TYPE: {
    scope: 'connection',
    message: (found: string) =>
      `The passed descriptor is not a connected stream socket of AF_INET, AF_INET6 or AF_UNIX: it is ${found}`,
  },
  FDPASS_ERR_NO_CONNECTION: {
    scope: 'connection',
    message: () =>
      "A partial handover was passed on without its second descriptor, the first sender's UNIX connection",
  },
  FDPASS_ERR_CONNECTION_TYPE: {
    scope: 'connection',
    message: (found: string) =>
      `What was passed on as the first sender's UNIX connection is not a connected stream socket of AF_UNIX: it is ${found}`,
  },
  FDPASS_ERR_TRUNCATED: {
    scope: 'connection',
    message: (bytesReceived: number) =>
      `The sender closed in the middle of the message, after ${bytesReceived} bytes`,
  },
  FDPASS_ERR_EMPTY: {
    scope: 'connection',
    message: () => 'The sender connected and closed without sending a byte',
  },
  FDPASS_ERR_TIMEOUT: {
    scope: 'connection',
    message: (timeoutMs: number) =>
      `The message was not complete ${timeoutMs} ms after its connection was accepted`,
  },
  FDPASS_ERR_RECEIVE: {
    scope: 'connection',
    message: (errno: number) => `Receiving from the UNIX connection failed${because(errno)}`,
  },
  FDPASS_ERR_PEER: {
    scope: 'connection',
    message: (uid: number, gid: number) =>
      `The process at the other end (uid ${uid}, gid ${gid}) may not hand over connections here`,
  },
  FDPASS_ERR_ACK: {
    scope: 'connection',
    message: (errno: number) =>
      `The acknowledgement could not be delivered${because(errno)}: the sender may still hold the client, so the handover was dropped here`,
  },
  FDPASS_ERR_CHANNEL: {
    scope: 'connection',
    message: (
      what: 'of the plain dialect' | 'without FD_PASS_VERSION=1' | 'with KTLS_RX=0' | 'with FD_PASS_RELAY',
    ) => `A message ${what} came on a channel, where only full handovers of version 1 may`,
  },
  FDPASS_ERR_TRAILING_BYTES: {
    scope: 'connection',
    message: (count: number) => `${count} bytes follow a message that nothing may follow`,
  },
  FDPASS_ERR_REFUSED: {
    scope: 'connection',
    message: (backend: string) =>
      `The backend ${backend} refused the handover; the client is untouched and can go to another backend`,
  },
  FDPASS_ERR_BACKEND_DOWN: {
    scope: 'connection',
    message: (backend: string) =>
      `The backend ${backend} could not be reached: nothing listens there, or it may not be opened`,
  },
  FDPASS_ERR_BACKLOG_FULL: {
    scope: 'connection',
    message: (backend: string) => `The accept queue of the backend ${backend} is full`,
  },
  FDPASS_ERR_ACK_TIMEOUT: {
    scope: 'connection',
    message: (backend: string) => `The backend ${backend} did not acknowledge the handover in time`,
  },
  FDPASS_ERR_HOPS: {
    scope: 'call',
    message: (maxHops: number) =>
      `The handover came through ${maxHops} routers already: they pass it on in a circle`,
  },
  FDPASS_ERR_FD_TAKEN: {
    scope: 'call',
    message: () => 'The descriptor was already taken or closed: its owner no longer has it',
  },
  FDPASS_ERR_ALREADY_LISTENING: {
    scope: 'call',
    message: () => 'The receiver is already listening: close it first, or create another',
  },
  FDPASS_ERR_LISTEN_FD: {
    scope: 'process',
    message: (fd: number) => `The inherited descriptor ${fd} is not a listening UNIX stream socket`,
  },
} as const satisfies Record<string, ErrorEntry>;

/** A code of {@link ERRORS}. */
export type WireErrorCode = keyof typeof ERRORS;

/** A code, what its message is built from, and perhaps the `cause`. */
export type WireErrorInit = {
  [Code in WireErrorCode]: [
    code: Code,
    ...messageArgs: Parameters<(typeof ERRORS)[Code]['message']>,
    options?: ErrorOptions,
  ];
}[WireErrorCode];

/**
 * An error of this package; match it by `code`. A system error that led to it is its `cause`.
 *
 * @example new WireError('FDPASS_ERR_RECEIVE', errno, { cause: systemError })
 */
export class WireError extends Error {
  /** Stable and public: match on this. */
  readonly code: WireErrorCode;
  /** How far the error reaches. */
  readonly scope: ErrorScope;

  constructor(...[code, ...args]: WireErrorInit) {
    const last = args.at(-1);
    // Message arguments are strings and numbers, so an object can only be the options.
    super(buildMessage(code, args), typeof last === 'object' ? last : undefined);
    this.code = code;
    this.scope = ERRORS[code].scope;
  }

  static {
    // On the prototype as in Node.js' own errors: not an enumerable property of each instance.
    Object.defineProperty(WireError.prototype, 'name', {
      value: 'WireError',
      configurable: true,
      writable: true,
    });
  }
}

function buildMessage(code: WireErrorCode, args: readonly unknown[]): string {
  const build = ERRORS[code].message as (...values: readonly unknown[]) => string;
  return build(...args);
}
