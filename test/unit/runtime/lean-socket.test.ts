// What request.socket is before anybody wants more of it than its facts: whatever is done to it first, it does as the socket that it
// stands for. Everything a net.Socket has is taken from its prototypes, so that what a release of Node.js adds is tried, too.
import { Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { ConnectionFacts, connectionInfo } from '#runtime/connection-info.js';
import { HandoverSocket } from '#runtime/handover-socket.js';
import { leanSocket, materialize } from '#runtime/lean-socket.js';
import { guardDescriptors } from '../../helpers/descriptors.js';
import { requestEntries, standIn } from '../../helpers/stand-in-handover.js';
import { tcpPair } from '../../native/tcp-pair.js';

const native = loadNative();

guardDescriptors(test);

const LINGERING = { lingeringTimeMs: 30_000, lingeringTimeoutMs: 5000 };
const CLIENT = [
  ['REMOTE_ADDR', '192.0.2.7'],
  ['REMOTE_PORT', '4711'],
] as const;

/** A socket of one of the two sorts, with a client at the other end. */
interface Subject {
  readonly socket: HandoverSocket;
  readonly client: Socket;
  isPromoted(): boolean;
}

async function open(t: ExecutionContext, isLean: boolean): Promise<Subject> {
  const { accepted, client } = await tcpPair(t);
  client.resume();
  const fd = native.dupFd(accepted);
  const facts = new ConnectionFacts(standIn(requestEntries(...CLIENT)), () => fd);
  let isPromoted = false;
  const promote = (): void => {
    if (isPromoted) return;
    isPromoted = true;
    materialize(socket, LINGERING, { fd });
  };
  const socket: HandoverSocket = isLean
    ? leanSocket({
        facts,
        isClosed: false,
        promote,
        destroy(error) {
          promote();
          socket.destroy(error);
        },
      })
    : new HandoverSocket(facts, LINGERING, { fd });
  t.teardown(async () => {
    // What was done to it may have left nothing to destroy it with.
    if (isLean && !isPromoted) native.closeFd(fd);
    else {
      socket.on('error', () => {});
      const handle = (socket as unknown as { _handle: { close(): void } | null })._handle;
      HandoverSocket.prototype.destroy.call(socket);
      handle?.close();
    }
    await turns();
  });
  return { socket, client, isPromoted: () => isPromoted };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

type Loose = Record<string | symbol, unknown>;

/** Something that is the same for equal things of two sockets. */
function describe(value: unknown, socket: Socket): unknown {
  if (value === socket) return 'the socket';
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return value.map((each) => describe(each, socket));
  if (value instanceof Promise) return 'a promise';
  if (typeof value === 'object' && value !== null) {
    const prototype: object | null = Object.getPrototypeOf(value);
    // Ports are the one thing that differs.
    if (prototype === Object.prototype || prototype === null) {
      return JSON.stringify(value).replace(/"port":\d+/, '"port"');
    }
    return `an object of ${prototype.constructor.name}`;
  }
  if (typeof value === 'number' && value === socket.localPort) return 'its port';
  return typeof value === 'symbol' ? value.toString() : value;
}

const STATE = [
  ...[
    'destroyed',
    'closed',
    'errored',
    'readable',
    'writable',
    'connecting',
    'pending',
    'readyState',
    'timeout',
  ],
  ...[
    'readableFlowing',
    'readableEnded',
    'readableEncoding',
    'readableLength',
    'readableAborted',
    'readableDidRead',
  ],
  ...[
    'writableEnded',
    'writableFinished',
    'writableLength',
    'writableCorked',
    'writableNeedDrain',
    'bytesWritten',
  ],
  ...[
    'localAddress',
    'localFamily',
    'remoteAddress',
    'remotePort',
    'remoteFamily',
    'allowHalfOpen',
    'isLingering',
  ],
] as const;

function stateOf(socket: HandoverSocket): Loose {
  const state: Loose = {};
  for (const name of STATE) state[name] = describe((socket as unknown as Loose)[name], socket);
  for (const name of socket.eventNames()) state[`on ${String(name)}`] = socket.listenerCount(name);
  return { ...state, most: socket.getMaxListeners(), paused: socket.isPaused() };
}

/** Of all its prototypes. */
function membersOf(prototype: object): Map<string | symbol, PropertyDescriptor> {
  const members = new Map<string | symbol, PropertyDescriptor>();
  for (let owner = prototype; owner !== Object.prototype; owner = Object.getPrototypeOf(owner)) {
    for (const key of Reflect.ownKeys(owner)) {
      const member = Object.getOwnPropertyDescriptor(owner, key);
      if (member !== undefined && !members.has(key)) members.set(key, member);
    }
  }
  return members;
}

const members = [...membersOf(HandoverSocket.prototype)].map(([key, { value, get, set }]) => {
  const name = key.toString();
  return { key, name, isMethod: typeof value === 'function', get, set };
});

const nothing = (): void => {};

/** What a method is called with; nothing, if it is not here. */
const ARGUMENTS: Readonly<Record<string, () => unknown[]>> = {
  addListener: () => ['event', nothing],
  on: () => ['event', nothing],
  once: () => ['event', nothing],
  prependListener: () => ['event', nothing],
  prependOnceListener: () => ['event', nothing],
  off: () => ['event', nothing],
  removeListener: () => ['event', nothing],
  emit: () => ['event', 1],
  listenerCount: () => ['event'],
  listeners: () => ['event'],
  rawListeners: () => ['event'],
  removeAllListeners: () => ['event'],
  setMaxListeners: () => [42],
  setTimeout: () => [60_000, nothing],
  setNoDelay: () => [true],
  setKeepAlive: () => [true, 1000],
  setEncoding: () => ['utf8'],
  setDefaultEncoding: () => ['latin1'],
  setTypeOfService: () => [0x10],
  write: () => ['written'],
  end: () => ['the end'],
  push: () => ['pushed'],
  unshift: () => ['put back'],
  pipe: () => [new PassThrough().on('error', nothing)],
  unpipe: () => [new PassThrough().on('error', nothing)],
  wrap: () => [new PassThrough().on('error', nothing)],
  compose: () => [new PassThrough().on('error', nothing)],
  read: () => [],
  map: () => [nothing],
  filter: () => [nothing],
  forEach: () => [nothing],
  some: () => [nothing],
  every: () => [nothing],
  find: () => [nothing],
  flatMap: () => [nothing],
  reduce: () => [nothing, 0],
  take: () => [1],
  drop: () => [1],
  destroy: () => [],
  _destroy: () => [null, nothing],
  _final: () => [nothing],
  _write: () => [Buffer.from('written'), 'buffer', nothing],
  _writev: () => [[{ chunk: Buffer.from('written'), encoding: 'buffer' }], nothing],
  _writeGeneric: () => [false, Buffer.from('written'), 'buffer', nothing],
};

/** Called only by net.Socket itself, on a socket that it has made. */
const NEVER_FIRST = new Set([
  'constructor',
  'connect',
  'Symbol(kReinitializeHandle)',
  'Symbol(kAfterAsyncWrite)',
  '_undestroy',
  // It takes the handle, for another thread.
  'Symbol(messaging_transfer_symbol)',
  // It reads the socket as pipe() does; that the test ends is an error that nobody can hear.
  'compose',
]);

/** They make it no socket: what they say is known, or comes later. */
const LEAVES_IT = new Set([
  // Facts.
  ...[
    'destroyed',
    'readable',
    'writable',
    'connecting',
    '_connecting',
    'readyState',
    'writableLength',
    'writableCorked',
  ],
  ...[
    'readableHighWaterMark',
    'writableHighWaterMark',
    'localAddress',
    'localPort',
    'localFamily',
    '_maxListeners',
  ],
  ...[
    'remoteAddress',
    'remotePort',
    'remoteFamily',
    'clientAddress',
    'isLingering',
    'sink',
    'getMaxListeners',
    'Symbol(kCapture)',
  ],
]);

async function observe(subject: Subject, act: (socket: Loose) => unknown): Promise<unknown[]> {
  const { socket } = subject;
  let received = '';
  subject.client.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  const seen: unknown[] = [];
  try {
    const returned = act(socket as unknown as Loose);
    if (returned instanceof Promise) returned.catch(nothing);
    // A stream made of the socket hears of its end.
    if (returned instanceof Duplex && returned !== socket) returned.on('error', nothing);
    seen.push(describe(returned, socket));
  } catch (error) {
    seen.push(`throws ${(error as NodeJS.ErrnoException).code}: ${(error as Error).message}`);
  }
  seen.push(stateOf(socket));
  await turns();
  seen.push(stateOf(socket), received);
  return seen;
}

for (const { key, name, isMethod } of members) {
  if (NEVER_FIRST.has(name)) continue;
  test(`first of all: ${name}`, async (t) => {
    const args = (): unknown[] => ARGUMENTS[name]?.() ?? [];
    const act = (socket: Loose): unknown => {
      const member = socket[key];
      return isMethod ? (member as (...values: unknown[]) => unknown).apply(socket, args()) : member;
    };
    const [lean, ordinary] = [await open(t, true), await open(t, false)];
    t.deepEqual(await observe(lean, act), await observe(ordinary, act));
    t.true(Object.getPrototypeOf(lean.socket) === HandoverSocket.prototype, 'now it is one');
  });

  if (isMethod || !LEAVES_IT.has(name)) continue;
  test(`a fact: ${name}`, async (t) => {
    const { socket, isPromoted } = await open(t, true);
    void (socket as unknown as Loose)[key];
    t.false(isPromoted());
  });
}

test('each of the facts exists', (t) => {
  const known = new Set(members.map(({ name }) => name));
  t.deepEqual(
    [...LEAVES_IT].filter((name) => !known.has(name) && name !== 'connecting'),
    [],
  );
});

for (const { key, name } of members.filter(({ set }) => set !== undefined)) {
  test(`first of all it is set: ${name}`, async (t) => {
    const act = (socket: Loose): void => {
      socket[key] = false;
    };
    if (name === '_handle') {
      t.pass('only by net.Socket itself');
      return;
    }
    const [lean, ordinary] = [await open(t, true), await open(t, false)];
    t.deepEqual(await observe(lean, act), await observe(ordinary, act));
  });
}

/** By whoever has the connection. */
const SET_LATER = new Set(['facts', 'lingering', 'server']);

test('what a socket has of its own is the same', async (t) => {
  const [lean, ordinary] = [await open(t, true), await open(t, false)];
  const names = Object.keys(ordinary.socket).filter((name) => !name.startsWith('_') && !SET_LATER.has(name));
  const valuesOf = ({ socket }: Subject) =>
    names.map((name) => [name, describe((socket as unknown as Loose)[name], socket)]);
  t.true(names.length > 1);
  t.deepEqual(valuesOf(lean), valuesOf(ordinary));
  t.false(lean.isPromoted());
});

for (const name of ['connecting', 'allowHalfOpen', 'timeout', 'mine']) {
  test(`what is set stays: ${name}`, async (t) => {
    const act = (socket: Loose): unknown => {
      socket[name] = true;
      return socket[name];
    };
    const [lean, ordinary] = [await open(t, true), await open(t, false)];
    t.is(act(lean.socket as unknown as Loose), act(ordinary.socket as unknown as Loose));
  });
}

test('it is a net.Socket, stays the same object, and keeps what was put on it', async (t) => {
  const { socket, isPromoted } = await open(t, true);
  const mark = Symbol('mine');
  (socket as unknown as Loose)[mark] = 1;
  t.true(socket instanceof Socket && socket instanceof HandoverSocket);
  t.deepEqual(connectionInfo(socket).client, { family: 'IPv4', address: '192.0.2.7', port: 4711 });
  t.false(isPromoted());
  socket.once('close', nothing);
  t.true(isPromoted());
  t.is((socket as unknown as Loose)[mark], 1);
  t.deepEqual(connectionInfo(socket).client, { family: 'IPv4', address: '192.0.2.7', port: 4711 });
});
