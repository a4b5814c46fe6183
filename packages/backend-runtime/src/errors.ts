// The one table of the runtime's errors: code, message, scope. Codes are public: the `reason` label of the metrics, and what
// callers match. docs/errors.md lists the same codes; a test holds both together.
import type { ErrorScope } from '@fdpass/scgi-fdpass/errors';

interface ErrorEntry {
  readonly scope: ErrorScope;
  readonly message: (...args: never[]) => string;
}

/** Every error this package throws or emits, besides those of the wire. */
export const ERRORS = {
  BKR_ERR_REQUEST_HEAD: {
    scope: 'connection',
    message: (what: string) => `The SCGI headers make no valid request head: ${what}. The client gets 400`,
  },
  BKR_ERR_HTTP_VERSION: {
    scope: 'connection',
    message: () => 'SERVER_PROTOCOL is neither HTTP/1.1 nor HTTP/1.0. The client gets 505',
  },
  BKR_ERR_RELAYED_UPGRADE: {
    scope: 'connection',
    message: () =>
      'A WebSocket upgrade came by plain SCGI, which cannot carry it. The client gets 426; hand over such requests (fd_pass)',
  },
  BKR_ERR_RELAYED_BODY: {
    scope: 'connection',
    message: (contentLength: number) =>
      `More body came by plain SCGI than its CONTENT_LENGTH of ${contentLength} bytes, so the request was not served. ` +
      'nginx does that with scgi_request_buffering off: leave that line out',
  },
  BKR_ERR_ADOPT: {
    scope: 'connection',
    message: () => 'The passed descriptor could not be made a socket',
  },
  BKR_ERR_TLS_MISMATCH: {
    scope: 'connection',
    message: (said: string, found: string) =>
      `The sender says that its client is ${said} (HTTPS, KTLS_RX), and the kernel ${found} on its descriptor. The connection was closed`,
  },
  BKR_ERR_TLS_HANDSHAKE: {
    scope: 'connection',
    message: () =>
      'The client began another TLS handshake (a KeyUpdate, a renegotiation), which only the web server could answer. Nothing more is ' +
      'read; the connection ends when its answer is sent',
  },
  BKR_ERR_TLS_ALERT: {
    scope: 'connection',
    message: (description: number) => `The client ended the connection by TLS alert ${description}`,
  },
  BKR_ERR_TLS_RECORD: {
    scope: 'connection',
    message: () =>
      'The kernel could not decrypt what came: a damaged record, or one with keys it does not have. Nothing more is read; the connection ' +
      'ends when its answer is sent',
  },
  BKR_ERR_MIDDLEWARE: {
    scope: 'connection',
    message: () => 'A handover middleware failed. The client gets 500',
  },
  BKR_ERR_MIDDLEWARE_TIMEOUT: {
    scope: 'connection',
    message: (timeoutMs: number) =>
      `No handover middleware called next(), reject() or take() within ${timeoutMs} ms (middlewareTimeoutMs). The client gets 503`,
  },
  BKR_ERR_HANDOVER_DECIDED: {
    scope: 'call',
    message: () => 'This handover was decided already: next(), reject() and take() exclude each other',
  },
  BKR_ERR_REJECT_STATUS: {
    scope: 'call',
    message: (status: number) => `reject() takes a status from 400 to 599, not ${status}`,
  },
  BKR_ERR_TOO_MANY_CONNECTIONS: {
    scope: 'connection',
    message: (maxConnections: number) =>
      `${maxConnections} connections are open (maxConnections). The client gets 503; a version-1 sender was told to try elsewhere`,
  },
  BKR_ERR_BODY_LOST: {
    scope: 'connection',
    message: (timeoutMs: number) =>
      `The request body did not go on for ${timeoutMs} ms (earlyBodyTimeoutMs), and its sender does not pass on what it read ` +
      'past the head: the public nginx module drops it. The client gets 408. Cure: use the fd_pass module of @fdpass, or relay ' +
      'requests with a body by scgi_pass',
  },
  BKR_ERR_SEND_TIMEOUT: {
    scope: 'connection',
    message: (timeoutMs: number) =>
      `The client took nothing of its answer for ${timeoutMs} ms (sendTimeoutMs); the connection was closed`,
  },
  BKR_ERR_LISTEN_ADDRESS: {
    scope: 'call',
    message: () =>
      'This server receives handovers on a UNIX socket: call listen({ path }) or listen({ fd }). For TCP clients start a front door ' +
      '(fdpass dev, fdpass front, or createFrontDoor)',
  },
  BKR_ERR_NO_CONNECTION_INFO: {
    scope: 'call',
    message: () => 'This request did not come by handover: there is no connection info',
  },
  BKR_ERR_SEND_FILE: {
    scope: 'call',
    message: (what: string) => `sendFile: ${what}`,
  },
  BKR_ERR_APP: {
    scope: 'process',
    message: (app: string, what: string) => `The application ${app} ${what}`,
  },
  BKR_ERR_LISTEN: {
    scope: 'process',
    message: (where: string) => `Cannot listen on ${where}`,
  },
  BKR_ERR_NO_SOCKET: {
    scope: 'process',
    message: () =>
      'Nothing to listen on: give --socket PATH, or start it by a systemd socket unit with one ListenStream',
  },
  BKR_ERR_CAPTURE: {
    scope: 'call',
    message: (file: string) => `${file} ends in the middle of a message`,
  },
  BKR_ERR_NO_ANSWER: {
    scope: 'call',
    message: (backend: string, what: string) => `The backend ${backend} ${what}`,
  },
  BKR_ERR_OPTION: {
    scope: 'call',
    message: (name: string, wanted: string) => `The option ${name} must be ${wanted}`,
  },
  BKR_ERR_PREFIX: {
    scope: 'call',
    message: (place: string, text: string, what: string) => `${place} is no prefix (${text}): ${what}`,
  },
  BKR_ERR_PREFIX_TWICE: {
    scope: 'call',
    message: (place: string, otherPlace: string, what: string) =>
      `${place} and ${otherPlace} are for the same connections: ${what}`,
  },
  BKR_ERR_PREFIX_OVERLAP: {
    scope: 'call',
    message: (place: string, what: string, otherPlace: string, other: string) =>
      `${place} (${what}) overlaps ${otherPlace} (${other}), which "strict" does not allow`,
  },
  BKR_ERR_PREFIX_TABLE: {
    scope: 'call',
    message: (place: string, maxEntries: number) =>
      `${place} is one too many: a table has at most ${maxEntries} entries`,
  },
  BKR_ERR_ROUTE_LOOP: {
    scope: 'call',
    message: (place: string, backend: string) =>
      `${place} passes connections on to ${backend}, where this server itself listens`,
  },
  BKR_ERR_ROUTE_HOPS: {
    scope: 'connection',
    message: (place: string, hops: number, maxHops: number) =>
      `A connection that came through ${hops} routers would be passed on by ${place}, and ${maxHops} (maxHops) may be before: that is a loop. ` +
      'The client gets 508',
  },
  BKR_ERR_ROUTE_DOWN: {
    scope: 'connection',
    message: (place: string, backends: string) =>
      `No backend of ${place} took a connection: ${backends}. The client gets 503`,
  },
  BKR_ERR_NO_ROUTE: {
    scope: 'connection',
    message: (local: string) =>
      `No route is for a connection to ${local}, and there is no default. The client gets 421`,
  },
  BKR_ERR_ROUTE_HANDLERS: {
    scope: 'call',
    message: (route: string, most: number) =>
      `${route} has more than ${most} handlers, the most a path and method may have with constraints. For more, choose in one handler: ` +
      'prefixMatcher()',
  },
  BKR_ERR_OTHER_SERVER: {
    scope: 'call',
    message: () =>
      "The application's server takes no handovers: give Fastify serverFactory: handoverServer()",
  },
  BKR_ERR_NO_STATS: {
    scope: 'call',
    message: () => 'No worker of the cluster has answered with its stats',
  },
  BKR_ERR_LOG_FORMAT: {
    scope: 'call',
    message: (option: string, place: number, what: string) =>
      `The option ${option} is wrong at character ${place}: ${what}`,
  },
  BKR_ERR_LOG_COLLECTOR: {
    scope: 'call',
    message: (to: string) => `The log cannot be sent to ${to}`,
  },
  BKR_ERR_FRONT_DOOR_STATE: {
    scope: 'call',
    message: (call: 'listen' | 'replace', state: string) =>
      call === 'listen'
        ? `listen() was called on a front door that is ${state}: it listens once; for other ports replace its listeners`
        : `replace() was called on a front door that is ${state}: only one that listens has listeners to replace`,
  },
  BKR_ERR_FRONT_DOOR_BAD_REQUEST: {
    scope: 'connection',
    message: (what: string) => `The request head is malformed: ${what}. The client gets 400`,
  },
  BKR_ERR_FRONT_DOOR_TLS: {
    scope: 'connection',
    message: () =>
      'A client speaks TLS to the front door, which speaks plain HTTP. The client gets 400. Use http://, or let a web server with the ' +
      'fd_pass module terminate TLS',
  },
  BKR_ERR_FRONT_DOOR_HEAD_TIMEOUT: {
    scope: 'connection',
    message: (headTimeoutMs: number) =>
      `The request head was not whole ${headTimeoutMs} ms after its first byte (headTimeoutMs). The client gets 408`,
  },
  BKR_ERR_FRONT_DOOR_URI_TOO_LONG: {
    scope: 'connection',
    message: (maxHeadBytes: number) =>
      `The request line does not end within ${maxHeadBytes} bytes (maxHeadBytes). The client gets 414`,
  },
  BKR_ERR_FRONT_DOOR_HEAD_TOO_LARGE: {
    scope: 'connection',
    message: (limit: number, unit: 'bytes' | 'fields') =>
      `The request head has more than ${limit} ${unit}${unit === 'bytes' ? ' (maxHeadBytes)' : ''}. The client gets 431`,
  },
  BKR_ERR_FRONT_DOOR_NOT_IMPLEMENTED: {
    scope: 'connection',
    message: (what: string) => `The front door does not implement ${what}. The client gets 501`,
  },
  BKR_ERR_FRONT_DOOR_VERSION: {
    scope: 'connection',
    message: () => 'The request is neither HTTP/1.1 nor HTTP/1.0. The client gets 505',
  },
} as const satisfies Record<string, ErrorEntry>;

export type RuntimeErrorCode = keyof typeof ERRORS;

/** A code, what its message is built from, and perhaps the `cause`. */
export type RuntimeErrorInit = {
  [Code in RuntimeErrorCode]: [
    code: Code,
    ...messageArgs: Parameters<(typeof ERRORS)[Code]['message']>,
    options?: ErrorOptions,
  ];
}[RuntimeErrorCode];

/** An error of this package; match it by `code`. A system error that led to it is its `cause`. */
export class RuntimeError extends Error {
  readonly code: RuntimeErrorCode;
  readonly scope: ErrorScope;

  constructor(...[code, ...args]: RuntimeErrorInit) {
    const last = args.at(-1);
    const build = ERRORS[code].message as (...values: readonly unknown[]) => string;
    super(build(...args), typeof last === 'object' ? last : undefined);
    this.code = code;
    this.scope = ERRORS[code].scope;
  }

  static {
    Object.defineProperty(RuntimeError.prototype, 'name', {
      value: 'RuntimeError',
      configurable: true,
      writable: true,
    });
  }
}
