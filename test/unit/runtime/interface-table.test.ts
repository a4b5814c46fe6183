// The table of a list of interfaces that the test writes: what it answers, and when it reads the list again.
import test, { type ExecutionContext } from 'ava';
import { type InterfaceRule, InterfaceTable } from '#runtime/ingress/interface-table.js';
import { native } from '#runtime/native.js';
import { guardDescriptors } from '../../helpers/descriptors.js';
import { ManualClock } from '../../helpers/manual-clock.js';

guardDescriptors(test);

interface Fixture {
  readonly table: InterfaceTable;
  /** Name by index: what there is. */
  readonly interfaces: Record<number, string>;
  /** How often they were read. */
  reads: number;
  readonly lines: { facts: object; message: string }[];
  isBroken: boolean;
}

function make(
  rules: readonly InterfaceRule[],
  interfaces: Record<number, string>,
  rescanIntervalMs = 0,
): Fixture {
  const lines: Fixture['lines'] = [];
  const log = (facts: object, message: string): void => void lines.push({ facts, message });
  const read = (): { index: number; name: string }[] => {
    fixture.reads++;
    if (fixture.isBroken) throw Object.assign(new Error('if_nameindex'), { code: 'EMFILE' });
    return Object.entries(interfaces).map(([index, name]) => ({ index: Number(index), name }));
  };
  const table = new InterfaceTable(rules, { rescanIntervalMs, logger: { warn: log, error: log } }, read);
  const fixture: Fixture = { table, interfaces, reads: 0, lines, isBroken: false };
  return fixture;
}

/** As on a machine whose kernel gives no netlink socket. */
function withoutLinkEvents(t: ExecutionContext): void {
  const { openLinkEvents } = native();
  const openNone = (): number => {
    throw Object.assign(new Error('socket'), { code: 'EAFNOSUPPORT' });
  };
  Object.assign(native(), { openLinkEvents: openNone });
  t.teardown(() => Object.assign(native(), { openLinkEvents }));
}

test('a rule is for both families or for one; the tag is the name of the device if none is given', (t) => {
  const { table } = make(
    [
      { device: 'gre-a', tag: 'mg1' },
      { device: 'gre-b', tag: 'mg1' },
      { device: 'eth0', family: 'ipv6' },
      { device: 'eth1', family: 'ipv4', tag: 'four' },
      { device: 'eth1', family: 'ipv6', tag: 'six' },
    ],
    { 1: 'lo', 2: 'gre-a', 3: 'gre-b', 40000000: 'eth0', 5: 'eth1' },
  );
  const tags = (ifindex: number): unknown[] => [table.tagOf(ifindex, 'ipv4'), table.tagOf(ifindex, 'ipv6')];
  t.deepEqual(tags(1), [undefined, undefined]);
  t.deepEqual(tags(2), ['mg1', 'mg1']);
  t.deepEqual(tags(3), ['mg1', 'mg1']);
  t.deepEqual(tags(40_000_000), [undefined, 'eth0']);
  t.deepEqual(tags(5), ['four', 'six']);
  t.deepEqual(tags(0), [undefined, undefined]);
  t.is(table.nameOf(5), 'eth1');
  t.is(table.nameOf(6), undefined);
});

test('a number nobody knows is looked for at once, and once', (t) => {
  const fixture = make([{ device: 'eth0' }], { 1: 'lo' });
  const { table, interfaces } = fixture;
  for (let times = 0; times < 3; times++) t.is(table.tagOf(7, 'ipv4'), undefined);
  t.is(fixture.reads, 1);
  interfaces[8] = 'eth0';
  for (let times = 0; times < 3; times++) t.is(table.tagOf(8, 'ipv4'), 'eth0');
  t.is(fixture.reads, 2);
  // The same device with another number.
  delete interfaces[8];
  interfaces[9] = 'eth0';
  t.is(table.tagOf(9, 'ipv6'), 'eth0');
  t.is(table.nameOf(9), 'eth0');
  t.is(fixture.reads, 3);
  t.is(table.tagOf(8, 'ipv4'), undefined, 'the old number is nobody any more');
});

test('a number by its name, without reading again', (t) => {
  const fixture = make([], { 1: 'lo', 2: 'eth0' });
  const { table } = fixture;
  t.is(table.indexOf('eth0'), 2);
  t.is(table.indexOf('eth1'), undefined);
  t.is(fixture.reads, 1);
  t.is(table.nameOf(2), 'eth0');
  t.is(fixture.reads, 1);
});

test('what cannot be read stays as it was, is logged once, and is read for the next client', (t) => {
  const fixture = make([{ device: 'eth0' }], { 2: 'eth0' });
  const { table, interfaces, lines } = fixture;
  t.is(table.tagOf(2, 'ipv4'), 'eth0');
  fixture.isBroken = true;
  interfaces[3] = 'eth0';
  t.is(table.tagOf(3, 'ipv4'), undefined);
  t.is(table.tagOf(3, 'ipv4'), undefined);
  t.is(table.tagOf(2, 'ipv4'), 'eth0');
  t.is(lines.length, 1);
  t.like(lines[0], { facts: { err: { code: 'EMFILE' } }, message: 'The network interfaces cannot be read' });
  fixture.isBroken = false;
  t.is(table.tagOf(3, 'ipv4'), 'eth0');
  fixture.isBroken = true;
  t.is(table.tagOf(4, 'ipv4'), undefined);
  t.is(lines.length, 2, 'again, as it was well in between');
});

test.serial('whoever wants to know is told that something may have changed, and finds it then', (t) => {
  withoutLinkEvents(t);
  const clock = ManualClock.install(t);
  const interfaces = [{ index: 2, name: 'eth0' }];
  const found: (number | undefined)[] = [];
  const table = new InterfaceTable(
    [],
    {
      rescanIntervalMs: 1000,
      logger: { warn() {}, error() {} },
      onChange: () => found.push(table.indexOf('eth0')),
    },
    () => interfaces,
  );
  table.start();
  t.deepEqual([table.indexOf('eth0'), found], [2, []]);
  interfaces[0] = { index: 3, name: 'eth0' };
  clock.advance(1000);
  t.deepEqual(found, [3]);
  table.stop();
});

test.serial('without link events it says so once, and reads again when the interval is over', (t) => {
  withoutLinkEvents(t);
  const clock = ManualClock.install(t);
  const fixture = make([{ device: 'eth0' }], { 2: 'tmp0' }, 60_000);
  const { table, interfaces, lines } = fixture;
  table.start();
  table.start();
  t.is(clock.pending, 1);
  t.is(table.tagOf(2, 'ipv4'), undefined);
  interfaces[2] = 'eth0';
  clock.advance(59_999);
  t.is(table.tagOf(2, 'ipv4'), undefined);
  clock.advance(1);
  t.is(table.tagOf(2, 'ipv4'), 'eth0');
  t.is(table.tagOf(2, 'ipv4'), 'eth0');
  t.is(fixture.reads, 2);
  table.stop();
  table.stop();
  t.is(clock.pending, 0);
  t.is(lines.length, 1);
  t.is(
    lines[0]?.message,
    'The kernel does not tell of changes of the network interfaces. They are read when a client comes in by a new one and every ' +
      '60000 ms (rescanIntervalMs)',
  );
  t.like(lines[0]?.facts, { err: { code: 'EAFNOSUPPORT' } });
});

test.serial('an interval of 0 reads none again; what happened before a start is read after it', (t) => {
  withoutLinkEvents(t);
  const clock = ManualClock.install(t);
  const { table, interfaces, lines } = make([{ device: 'eth0' }], { 2: 'tmp0' });
  t.is(table.tagOf(2, 'ipv4'), undefined);
  interfaces[2] = 'eth0';
  table.start();
  t.is(clock.pending, 0);
  t.is(table.tagOf(2, 'ipv4'), 'eth0');
  t.regex(lines[0]?.message ?? '', /comes in by a new one$/);
  table.stop();
});

test.serial('started and stopped again and again, it holds no descriptor', (t) => {
  for (let times = 0; times < 3; times++) {
    const { table, lines } = make([{ device: 'lo' }], { 1: 'lo' }, 1);
    table.start();
    t.is(table.tagOf(1, 'ipv4'), 'lo');
    table.stop();
    t.deepEqual(lines, []);
  }
  t.is(native().registeredFdCount(), 0);
});

test('the interfaces of this machine are read if no others are given', (t) => {
  const table = new InterfaceTable([{ device: 'lo', tag: 'loopback' }], { rescanIntervalMs: 0 });
  t.is(table.tagOf(1, 'ipv6'), 'loopback');
  t.is(table.nameOf(1), 'lo');
});
