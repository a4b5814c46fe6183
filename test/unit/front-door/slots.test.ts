import test from 'ava';
import { assignSlots } from '#runtime/front-door/slots.js';

const cases: readonly {
  title: string;
  names: string[];
  before: Record<string, number>;
  sockets: number;
  slots: Record<string, number>;
}[] = [
  { title: 'the first ones, in order', names: ['a', 'b'], before: {}, sockets: 3, slots: { a: 1, b: 2 } },
  {
    title: 'what they had',
    names: ['b', 'c', 'a'],
    before: { a: 1, b: 2 },
    sockets: 4,
    slots: { b: 2, a: 1, c: 3 },
  },
  {
    title: 'that of one who is gone',
    names: ['c', 'b'],
    before: { a: 1, b: 2 },
    sockets: 3,
    slots: { b: 2, c: 1 },
  },
  { title: 'none that is not there any more', names: ['a'], before: { a: 7 }, sockets: 2, slots: { a: 1 } },
  { title: 'not slot 0, even if they had it', names: ['a'], before: { a: 0 }, sockets: 2, slots: { a: 1 } },
  { title: 'one between all', names: ['a', 'b'], before: {}, sockets: 1, slots: { a: 0, b: 0 } },
  {
    title: 'too few for all',
    names: ['a', 'b', 'c', 'd'],
    before: { d: 2 },
    sockets: 3,
    slots: { d: 2, a: 1, b: 0, c: 1 },
  },
  { title: 'no names', names: [], before: { a: 1 }, sockets: 2, slots: {} },
];

for (const { title, names, before, sockets, slots } of cases) {
  test(title, (t) => {
    t.deepEqual(Object.fromEntries(assignSlots(names, new Map(Object.entries(before)), sockets)), slots);
  });
}
