// What the cost of a handover is looked at against: each sweep changes one thing, and measures CPU time of nginx and of Node.js for
// one request on a connection of its own.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpuSeconds } from '../cpu-time.js';
import { type IdleClients, KEPT_ALIVE, openIdleClients } from '../nginx/idle-clients.js';
import { type NginxSize, type RunningWays, type Scene, startWays } from '../nginx/ways.js';
import { NEW_CONNECTION_EACH, wrk } from '../wrk.js';

/** CPU time in microseconds for each handover. */
export interface Cost {
  readonly nginx: number;
  readonly node: number;
}

export interface Sweep {
  readonly key: 'connections' | 'headers' | 'early-bytes';
  readonly title: string;
  readonly xLabel: string;
  readonly isLogarithmic: boolean;
  /** Ascending. */
  readonly xs: readonly number[];
  /** Measures once at each x. @returns in the order of `xs` */
  round(): Promise<Cost[]>;
  close(): Promise<void>;
}

const SECONDS = 1;
const HEADERS = [1, 25, 50, 100, 200, 400];
const EARLY_KIB = [0, 4, 8, 16, 32, 60];
const CONNECTIONS = [10, 100, 1000, 5000, 20_000];
/** nginx reads a head and what follows it at once: as much as fits in. */
const HEAD_BUFFER_BYTES = 64 * 1024;
const SIZE: NginxSize = { maxClients: 200, workers: 1 };

async function costOf(running: RunningWays, ...options: string[]): Promise<Cost> {
  const { port, nginxPids, nodePids } = running.get('fd_pass');
  const nginxBefore = cpuSeconds(nginxPids);
  const nodeBefore = cpuSeconds(nodePids);
  const { requests } = await wrk(
    `http://127.0.0.1:${port}/hello`,
    SECONDS,
    ...NEW_CONNECTION_EACH,
    ...options,
  );
  const each = (seconds: number) => (seconds / requests) * 1e6;
  return { nginx: each(cpuSeconds(nginxPids) - nginxBefore), node: each(cpuSeconds(nodePids) - nodeBefore) };
}

async function inOrder<X>(xs: readonly X[], measure: (x: X) => Promise<Cost>): Promise<Cost[]> {
  const costs: Cost[] = [];
  for (const x of xs) costs.push(await measure(x));
  return costs;
}

/** Up and down in turn: what a measurement leaves behind (garbage, code made for it) never meets another end of the scale. */
function inTurns<X>(xs: readonly X[], measure: (x: X) => Promise<Cost>): () => Promise<Cost[]> {
  let isUpwards = false;
  return async () => {
    isUpwards = !isUpwards;
    return isUpwards ? inOrder(xs, measure) : (await inOrder(xs.toReversed(), measure)).reverse();
  };
}

/** Clients that were handed over, had an answer, and stay. @param most as many as descriptors allow */
export async function connectionsSweep(scene: Scene, most: number): Promise<Sweep> {
  const running = await startWays(scene, ['fd_pass'], SIZE);
  const xs = [...CONNECTIONS.filter((count) => count < most), Math.min(most, CONNECTIONS.at(-1) ?? 0)];
  return {
    key: 'connections',
    title: 'Handover against open connections',
    xLabel: 'connections that were handed over before and are idle',
    isLogarithmic: true,
    xs,
    round: async () => {
      const opened: IdleClients[] = [];
      let open = 0;
      try {
        return await inOrder(xs, async (count) => {
          opened.push(await openIdleClients(running.get('fd_pass').port, count - open, KEPT_ALIVE));
          open = count;
          return costOf(running);
        });
      } finally {
        await Promise.all(opened.map((clients) => clients.close()));
      }
    },
    close: () => running.close(),
  };
}

/** Header fields of the request, beside the three that wrk sends. */
export async function headersSweep(scene: Scene): Promise<Sweep> {
  const running = await startWays(scene, ['fd_pass'], SIZE);
  const field = (number: number) => ['-H', `X-Header-${number}: value of header ${number}`];
  return {
    key: 'headers',
    title: 'Handover against header fields',
    xLabel: 'header fields of the request, about 33 bytes each',
    isLogarithmic: false,
    xs: HEADERS,
    round: inTurns(HEADERS, (count) =>
      costOf(running, ...Array.from({ length: count }, (_, n) => field(n)).flat()),
    ),
    close: () => running.close(),
  };
}

/** Bytes of the body that nginx has read with the head. */
export async function earlyBytesSweep(scene: Scene): Promise<Sweep> {
  const running = await startWays(scene, ['fd_pass'], { ...SIZE, headBufferBytes: HEAD_BUFFER_BYTES });
  const scripts = EARLY_KIB.map((kib) => {
    const script = join(scene.folder, `post-${kib}.lua`);
    writeFileSync(script, `wrk.method = "POST"\nwrk.body = string.rep("x", ${kib * 1024})\n`);
    return script;
  });
  return {
    key: 'early-bytes',
    title: 'Handover against early bytes',
    xLabel: 'KiB of the body that nginx had read with the head',
    isLogarithmic: false,
    xs: EARLY_KIB,
    round: inTurns(scripts, (script) => costOf(running, '-s', script)),
    close: () => running.close(),
  };
}
