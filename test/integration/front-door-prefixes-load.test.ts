// The listeners of a port are replaced again and again while clients come as fast as they can: none is refused, reset, or given to a wrong
// backend. Front door and backends are processes of their own, so that clients come in the midst of it.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { FrontDoorRoute, FrontDoorStats } from '@fdpass/backend-runtime';
import test from 'ava';
import { CommandedProcess } from '../helpers/commanded-process.js';
import { CountingLoad } from '../helpers/counting-load.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { needs, program } from '../helpers/requirements.js';

guardDescriptors(test);

const run = promisify(execFile);

/** Backends by the addresses that are theirs all the time. */
const OWN: readonly [name: string, prefix: string][] = [
  [`fdpass-load-1-${process.pid}`, '127.0.1.'],
  [`fdpass-load-2-${process.pid}`, '127.0.2.'],
];
const OTHER = `fdpass-load-other-${process.pid}`;

const to = (name: string): string => `\0${name}`;

/** Tables in which the same addresses are the same backends', by other rules, other numbers of listeners, and in another order. */
function tables(port: number): FrontDoorRoute[][] {
  const [[one, two]] = [OWN.map(([name]) => name)] as unknown as [[string, string]];
  const listener = (name: string, ...prefixes: string[]): FrontDoorRoute => ({
    host: '::',
    port,
    to: to(name),
    ...(prefixes.length === 0 ? {} : { prefixes }),
  });
  const many = (from: number): string[] => Array.from({ length: 200 }, (_, n) => `127.${from}.${n}.0/24`);
  return [
    [listener(one, '127.0.1.0/24'), listener(two, '127.0.2.0/24')],
    [listener(two, '127.0.2.0/25', '127.0.2.128/25'), listener(one, '127.0.1.0/24'), listener(OTHER)],
    [listener(OTHER, ...many(7)), listener(one, '127.0.0.0/23'), listener(two, '127.0.0.0/16')],
    [listener(two), listener(one, '127.0.1.0/24'), listener(OTHER, ...many(8)), listener(OTHER, ...many(9))],
    // Past what the kernel takes.
    [
      listener(
        one,
        '127.0.1.0/24',
        ...Array.from({ length: 5000 }, (_, n) => `10.${n >> 8}.${n & 255}.0/24`),
      ),
      listener(two, '127.0.2.0/24'),
    ],
  ];
}

async function start(t: Parameters<typeof CommandedProcess.start>[0]): Promise<{
  front: CommandedProcess;
  port: number;
  /** @returns how many times */
  replaceWhile: (goesOn: (count: number) => boolean) => Promise<number>;
}> {
  for (const [name, prefix] of [...OWN, [OTHER, 'no address']] as const) {
    await CommandedProcess.start(t, 'named-backend.js', [name, '', prefix]);
  }
  const front = await CommandedProcess.start(t, 'prefix-front.js', [JSON.stringify(tables(0)[0]), '']);
  const [{ port }] = await front.ask<[{ port: number }]>('addresses');
  const all = tables(port);
  const replaceWhile = async (goesOn: (count: number) => boolean): Promise<number> => {
    let count = 0;
    for (; goesOn(count); count++) {
      const answer = await front.ask<string>(`replace ${JSON.stringify(all[count % all.length])}`);
      if (answer !== '') throw new Error(answer);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return count;
  };
  return { front, port, replaceWhile };
}

test.serial('each client gets the answer of its own backend', async (t) => {
  const { front, port, replaceWhile } = await start(t);
  const loads = OWN.map(([, prefix]) => new CountingLoad(port, `${prefix}7`, 4));
  t.teardown(() => Promise.all(loads.map((load) => load.stop())));
  const replaced = await replaceWhile(
    (count) => count < 40 || loads.some(({ answers, problems }) => answers.size < 200 && problems.size === 0),
  );
  await Promise.all(loads.map((load) => load.stop()));
  for (const [nth, load] of loads.entries()) {
    t.deepEqual([...load.problems.values()].slice(0, 3), []);
    t.deepEqual(load.names(), [OWN[nth]?.[0]]);
  }
  const answered = loads.map(({ answers }) => answers.size).reduce((sum, each) => sum + each);
  const stats = await front.ask<FrontDoorStats>('close');
  t.like(stats, { unrouted: 0, accepted: answered, handedOver: answered });
  t.log(`${answered} clients, ${replaced} replacements, ${stats.rerouted} came in by another listener`);
});

needs(test.serial, program('wrk'))('wrk sees no error', async (t) => {
  const { front, port, replaceWhile } = await start(t);
  let isOver = false;
  const outputs = Promise.all(
    OWN.map(([, prefix]) =>
      run(
        'wrk',
        ['-t1', '-c16', '-d3s', '--timeout', '30s', '-H', 'Connection: close', `http://${prefix}8:${port}/`],
        {
          timeout: 60_000,
        },
      ),
    ),
  ).finally(() => {
    isOver = true;
  });
  const replaced = await replaceWhile(() => !isOver);
  for (const { stdout } of await outputs) {
    t.notRegex(stdout, /Socket errors|Non-2xx/, stdout);
    t.regex(stdout, /[1-9]\d* requests in/);
  }
  const stats = await front.ask<FrontDoorStats>('close');
  t.like(stats, { unrouted: 0, refused: {}, answered: {} });
  t.log(
    `${stats.handedOver} clients, ${replaced} replacements, ${stats.rerouted} came in by another listener`,
  );
});
