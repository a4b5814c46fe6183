// What `request.socket` is while a request is answered without a socket: its facts, and nothing else yet. Whoever wants more of it
// (a listener, a write, a timeout) makes it a HandoverSocket in place by asking, and keeps the same object.
import { Socket, type SocketConstructorOpts } from 'node:net';
import { type ConnectionFacts, registerSocket } from './connection-info.js';
import { HandoverSocket, type LingeringLimits, type SocketFacts } from './handover-socket.js';

/** The connection that has no socket yet. */
export interface LeanSocketOwner {
  readonly facts: ConnectionFacts;
  /** Nothing is sent or received any more. */
  readonly isClosed: boolean;
  /** Makes it a socket: `materialize()` is called before this returns. */
  promote(): void;
  destroy(error?: Error): void;
}

const LEAN_OWNER: unique symbol = Symbol('leanOwner');

type LeanSocket = HandoverSocket & { [LEAN_OWNER]: LeanSocketOwner; facts: SocketFacts };

/** The object, which costs next to nothing. */
export function leanSocket(owner: LeanSocketOwner): HandoverSocket {
  const socket = new (Blank as unknown as new (owner: LeanSocketOwner) => HandoverSocket)(owner);
  registerSocket(socket, owner.facts);
  return socket;
}

/** Makes it the socket that it looks like; the socket owns the descriptor in `options`, as HandoverSocket's does. */
export function materialize(
  socket: HandoverSocket,
  lingering: LingeringLimits,
  options: SocketConstructorOpts,
): HandoverSocket {
  HandoverSocket.settleOn(socket, (socket as LeanSocket).facts, lingering, options);
  return socket;
}

function Blank(this: LeanSocket, owner: LeanSocketOwner): void {
  this[LEAN_OWNER] = owner;
  this.facts = owner.facts;
}

/** What Node.js would say of a socket that was just accepted. */
const DEFAULTS = new Socket();

type Getter = (socket: LeanSocket) => unknown;

const local = (part: 'address' | 'port' | 'family'): Getter => {
  return (socket) => {
    const address = socket[LEAN_OWNER].facts.local;
    return address === undefined || address.family === 'unix' ? undefined : address[part];
  };
};
const isOpen: Getter = (socket) => !socket[LEAN_OWNER].isClosed;

/** What can be said without a socket. */
const KNOWN: Readonly<Record<string, Getter>> = {
  destroyed: (socket) => socket[LEAN_OWNER].isClosed,
  readable: isOpen,
  writable: isOpen,
  connecting: () => false,
  allowHalfOpen: () => true,
  _parent: () => null,
  readyState: (socket) => (socket[LEAN_OWNER].isClosed ? 'closed' : 'open'),
  readableHighWaterMark: () => DEFAULTS.readableHighWaterMark,
  writableHighWaterMark: () => DEFAULTS.writableHighWaterMark,
  writableLength: () => 0,
  writableCorked: () => 0,
  writableEnded: (socket) => socket[LEAN_OWNER].isClosed,
  writableFinished: (socket) => socket[LEAN_OWNER].isClosed,
  localAddress: local('address'),
  localPort: local('port'),
  localFamily: local('family'),
};

/** The state of every kind that a net.Socket has: all of its methods begin with one of these, or are among METHODS. */
const STATE = ['_events', '_eventsCount', '_readableState', '_writableState', '_handle'] as const;

/** They would leave something that making it a socket forgets. */
const METHODS = ['setTimeout', 'setMaxListeners'] as const;

function become(socket: LeanSocket): HandoverSocket {
  socket[LEAN_OWNER].promote();
  return socket;
}

Blank.prototype = Object.create(HandoverSocket.prototype);
for (const [name, get] of Object.entries(KNOWN)) {
  define(name, {
    get(this: LeanSocket) {
      return get(this);
    },
    set: assignment(name),
  });
}
for (const name of STATE) {
  define(name, {
    get(this: LeanSocket) {
      return (become(this) as unknown as Record<string, unknown>)[name];
    },
    set: assignment(name),
  });
}
for (const name of METHODS) {
  define(name, {
    value(this: LeanSocket, ...args: never[]) {
      return (become(this)[name] as (...values: never[]) => unknown)(...args);
    },
  });
}
define('destroy', {
  value(this: LeanSocket, error?: Error) {
    this[LEAN_OWNER].destroy(error);
    return this;
  },
});
define('destroySoon', {
  value(this: LeanSocket) {
    if (!this[LEAN_OWNER].isClosed) become(this).destroySoon();
  },
});

/** Whoever sets something wants a socket. */
function assignment(name: string) {
  return function (this: LeanSocket, value: unknown): void {
    (become(this) as unknown as Record<string, unknown>)[name] = value;
  };
}

function define(name: string, property: PropertyDescriptor): void {
  Object.defineProperty(Blank.prototype, name, { configurable: true, ...property });
}
