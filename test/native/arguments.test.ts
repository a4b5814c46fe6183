// Wrong arguments are a TypeError or a RangeError, or the kernel's own answer: never a crash, never a descriptor lost.
import test from 'ava';
import { loadNative } from '#native/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { roomyOptions } from './listener-fixture.js';

const native = loadNative();

guardDescriptors(test);

type Callable = (...args: unknown[]) => unknown;
const functions = native as unknown as Record<string, Callable>;
const nothing = (): void => {};
const bytes = Buffer.from('x');

/** Arguments that are right, for each function: a wrong one is put in each place in turn. */
const rightArguments: Record<string, readonly unknown[]> = {
  registerFd: [1_000_000],
  takeFd: [1_000_000],
  closeFd: [1_000_000],
  dupFd: [1_000_000],
  bindUnix: ['', 0o600],
  listen: [1_000_000, 1],
  connectUnix: [''],
  withDirectoryLock: ['', 0, nothing],
  bindTcp: ['', 0],
  accept: [1_000_000],
  resetTcp: [1_000_000],
  attachReuseportFilter: [1_000_000, new Uint8Array(8)],
  peek: [1_000_000, bytes],
  read: [1_000_000, bytes],
  write: [1_000_000, bytes],
  sendAnswer: [1_000_000, false, 'head'],
  sendFds: [1_000_000, bytes, [1]],
  tlsDirection: [1_000_000, 1],
  readTlsRecord: [1_000_000, bytes],
  sendTlsAlert: [1_000_000, 1, 0],
  shutdown: [1_000_000, 0],
  sendfile: [1_000_000, 1_000_000, 0, 1, nothing],
  inspectSocket: [1_000_000],
  localAddress: [1_000_000],
  peerAddress: [1_000_000],
  peerCredentials: [1_000_000],
  ingressIfindex: [1_000_000],
  tcpInfo: [1_000_000],
  tcpBytes: [1_000_000, new Float64Array(2)],
  getOption: [1_000_000, 1, 1],
  setOption: [1_000_000, 1, 1, 1],
  tcpUlp: [1_000_000],
  readQueueBytes: [1_000_000],
  writeQueueBytes: [1_000_000],
  drainLinkEvents: [1_000_000],
  userId: ['no-such-user'],
  groupId: ['no-such-group'],
};

const wrongValues: readonly unknown[] = [
  undefined,
  null,
  true,
  Symbol('fd'),
  10n,
  {},
  new Date(),
  new Uint16Array(4),
  new DataView(new ArrayBuffer(8)),
  new ArrayBuffer(8),
  class {},
];

const kindOf = (value: unknown): string => {
  if (Array.isArray(value)) return 'array';
  if (value instanceof Uint8Array) return 'bytes';
  return typeof value;
};

for (const [name, right] of Object.entries(rightArguments)) {
  test(`${name}: a wrong type in any place is a TypeError`, (t) => {
    for (const place of right.keys()) {
      const others = ['string', 1, [1], bytes].filter((value) => kindOf(value) !== kindOf(right[place]));
      for (const wrong of [...wrongValues, ...others]) {
        if (kindOf(wrong) === kindOf(right[place])) continue;
        const args = right.with(place, wrong);
        t.throws(() => functions[name]!(...args), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
      }
    }
    t.throws(() => functions[name]!(), { instanceOf: TypeError });
  });

  test(`${name}: numbers that are no 32-bit integers are a RangeError`, (t) => {
    for (const place of right.keys()) {
      if (typeof right[place] !== 'number') continue;
      for (const wrong of [
        Number.NaN,
        Number.POSITIVE_INFINITY,
        Number.NEGATIVE_INFINITY,
        0.5,
        2 ** 60,
        -(2 ** 60),
      ]) {
        const args = right.with(place, wrong);
        t.throws(() => functions[name]!(...args), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
      }
    }
    t.pass();
  });
}

test('every function of the binding is in this table, or takes no arguments', (t) => {
  const without = ['registeredFdCount', 'socketpair', 'interfaces', 'openLinkEvents', 'descriptorLimits'];
  const classes = ['FdListener', 'FdPoller', 'ParkingLot'];
  const known = [...Object.keys(rightArguments), ...without, ...classes, 'constants'];
  t.deepEqual(Object.keys(native).sort(), known.sort());
});

test('a descriptor that is not open is EBADF everywhere', (t) => {
  for (const [name, right] of Object.entries(rightArguments)) {
    // An answer is not sent, and the next call on the socket says why.
    if (right[0] !== 1_000_000 || name === 'takeFd' || name === 'sendAnswer') continue;
    for (const fd of [1_000_000, -1, 2 ** 31 - 1, -(2 ** 31)]) {
      t.throws(() => functions[name]!(...right.with(0, fd)), { code: 'EBADF' }, `${name}(${fd})`);
    }
  }
});

for (const [name, act] of Object.entries<() => unknown>({
  'a mode': () => native.bindUnix('/nowhere', 0o1777),
  'a negative mode': () => native.bindUnix('/nowhere', -1),
  'a type of socket to bind': () => native.bindUnix('/nowhere', 0o600, 3),
  'a type of socket to connect': () => native.connectUnix('/nowhere', 0),
  'a port': () => native.bindTcp('127.0.0.1', 65_536),
  'a negative port': () => native.bindTcp('127.0.0.1', -1),
  'a negative backlog': () => native.listen(0, -1),
  'a direction to shut down': () => native.shutdown(0, 3 as 0),
  'a negative timeout': () => native.withDirectoryLock('/nowhere', -1, nothing),
  'an empty target, where 0 would mean the end': () => native.read(0, new Uint8Array(0)),
  'an empty target to peek into': () => native.peek(0, new Uint8Array(0)),
})) {
  test(`out of range: ${name}`, (t) => {
    t.throws(act, { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  });
}

test('bytes whose memory was transferred away are empty, not a crash', (t) => {
  const gone = new Uint8Array(8);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  const [left, right] = native.socketpair();
  t.is(native.write(left, gone), 0);
  t.throws(() => native.read(left, gone), { instanceOf: RangeError });
  native.closeFd(left);
  native.closeFd(right);
});

test('the body of an answer may be left out, and is nothing but bytes', (t) => {
  const [left, right] = native.socketpair();
  t.is(native.sendAnswer(left, false, 'head'), 0);
  t.is(native.sendAnswer(left, false, 'head', undefined), 0);
  for (const wrong of [null, true, 1, 'body', [1], ...wrongValues.filter((value) => value !== undefined)]) {
    t.throws(() => functions.sendAnswer!(left, false, 'head', wrong), { code: 'ERR_INVALID_ARG_TYPE' });
  }
  for (const fd of [1_000_000, -1, 2 ** 31 - 1, -(2 ** 31)])
    t.is(native.sendAnswer(fd, false, 'head', bytes), 5);
  native.closeFd(left);
  native.closeFd(right);
});

test('an array of descriptors that throws when it is read throws that', (t) => {
  const array = [1];
  Object.defineProperty(array, 0, {
    get() {
      throw new Error('of the getter');
    },
  });
  const [left, right] = native.socketpair();
  t.throws(() => native.sendFds(left, bytes, array), { message: 'of the getter' });
  t.throws(() => native.sendFds(left, bytes, new Array(1)), { instanceOf: TypeError });
  native.closeFd(left);
  native.closeFd(right);
});

const listenerClass = native.FdListener as unknown as { new (...args: unknown[]): unknown } & Callable;
const pollerClass = native.FdPoller as unknown as { new (...args: unknown[]): unknown } & Callable;
const lotClass = native.ParkingLot as unknown as { new (...args: unknown[]): unknown } & Callable;

test('a lot checks its listener, descriptors and times', (t) => {
  for (const wrong of wrongValues) {
    if (typeof wrong !== 'function') t.throws(() => new lotClass(wrong), { code: 'ERR_INVALID_ARG_TYPE' });
  }
  const lot = new native.ParkingLot(nothing);
  const [left, right] = native.socketpair();
  for (const wrong of wrongValues) {
    t.throws(() => (lot.park as Callable)(wrong, 0), { code: 'ERR_INVALID_ARG_TYPE' });
    t.throws(() => (lot.park as Callable)(left, wrong), { code: 'ERR_INVALID_ARG_TYPE' });
    t.throws(() => (lot.unpark as Callable)(wrong), { code: 'ERR_INVALID_ARG_TYPE' });
  }
  for (const wrong of [-1, 2 ** 31, 0.5, Number.NaN]) {
    t.throws(() => lot.park(left, wrong), { code: 'ERR_OUT_OF_RANGE' });
  }
  for (const fd of [1_000_000, -1]) t.throws(() => lot.park(fd, 0), { code: 'EBADF' });
  t.false(lot.unpark(1_000_000));
  t.is(lot.size(), 0);
  lot.close();
  native.closeFd(left);
  native.closeFd(right);
});

test('options of a listener are checked one by one', (t) => {
  for (const name of Object.keys(roomyOptions)) {
    const { [name as keyof typeof roomyOptions]: _left, ...without } = roomyOptions;
    t.throws(() => new listenerClass(0, without, nothing), {
      instanceOf: TypeError,
      message: new RegExp(name),
    });
    for (const wrong of [-1, 0.5, Number.NaN, 2 ** 40]) {
      const options = { ...roomyOptions, [name]: wrong };
      t.throws(() => new listenerClass(0, options, nothing), {
        instanceOf: RangeError,
        message: new RegExp(name),
      });
    }
  }
  t.throws(() => new listenerClass(0, { ...roomyOptions, maxBatch: 0 }, nothing), { instanceOf: RangeError });
  for (const wrong of [undefined, null, 1, 'options', nothing]) {
    t.throws(() => new listenerClass(0, wrong, nothing), { instanceOf: TypeError });
  }
  t.throws(() => new listenerClass(0, roomyOptions, undefined), { instanceOf: TypeError });
  const throwing = Object.defineProperty({ ...roomyOptions }, 'maxBatch', {
    get() {
      throw new Error('of the getter');
    },
  });
  t.throws(() => new listenerClass(0, throwing, nothing), { message: 'of the getter' });
});

test('classes need new, methods need an object of their class', (t) => {
  t.throws(() => listenerClass(0, roomyOptions, nothing), { instanceOf: TypeError });
  t.throws(() => pollerClass(0, nothing), { instanceOf: TypeError });
  t.throws(() => lotClass(nothing), { instanceOf: TypeError });
  const [left, right] = native.socketpair();
  const poller = new native.FdPoller(left, nothing);
  const methods = {
    ...methodsOf(native.FdListener),
    ...methodsOf(native.FdPoller),
    ...methodsOf(native.ParkingLot),
  };
  t.true(Object.keys(methods).length >= 12);
  for (const [name, method] of Object.entries(methods)) {
    for (const self of [
      undefined,
      null,
      1,
      {},
      Object.create(native.FdListener.prototype),
      native.FdPoller,
    ]) {
      t.throws(() => Reflect.apply(method, self, [1]), { instanceOf: TypeError }, name);
    }
  }
  for (const owner of [native.FdListener, native.ParkingLot]) {
    for (const method of Object.values(methodsOf(owner))) {
      t.throws(() => Reflect.apply(method, poller, [1]), { instanceOf: TypeError });
    }
  }
  t.throws(() => poller.start(0), { instanceOf: RangeError });
  t.throws(() => poller.start(8), { instanceOf: RangeError });
  t.throws(() => (poller.start as Callable)(), { instanceOf: TypeError });
  poller.close();
  native.closeFd(left);
  native.closeFd(right);
});

function methodsOf(owner: { prototype: object }): Record<string, Callable> {
  const names = Object.getOwnPropertyNames(owner.prototype).filter((name) => name !== 'constructor');
  return Object.fromEntries(
    names.map((name) => [name, (owner.prototype as Record<string, Callable>)[name]!]),
  );
}

test('ownership: taken, registered, closed twice, duplicated', (t) => {
  const [left, right] = native.socketpair();
  t.is(native.takeFd(left), left, 'what is not registered is answered as well');
  const copy = native.dupFd(left);
  t.not(copy, left);
  t.is(native.registeredFdCount(), 0);
  native.registerFd(left);
  native.registerFd(left);
  t.is(native.registeredFdCount(), 1);
  native.closeFd(left);
  t.is(native.registeredFdCount(), 0);
  t.throws(() => native.closeFd(left), { code: 'EBADF' });
  t.is(native.write(copy, bytes), 1);
  native.closeFd(copy);
  native.closeFd(right);
});
