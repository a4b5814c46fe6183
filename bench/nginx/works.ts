// What the ways are put through, and what is noted of it. One measurement is one work on one way, bounded in time or amount; how
// often, in which order and what comes out of it is told elsewhere.
import { cpuSeconds } from '../cpu-time.js';
import type { ReceiverName } from '../receiver/receivers.js';
import { NEW_CONNECTION_EACH, wrk } from '../wrk.js';
import { askAtCapacity, askAtRate } from './constant-rate-client.js';
import { type Greeting, KEPT_ALIVE, openIdleClients, WEB_SOCKET } from './idle-clients.js';
import { memoryOf } from './memory.js';
import type { Parameters } from './parameters.js';
import { download, upload, uploadBody } from './transfers.js';
import { type RunningWays, type Scene, startWays, type Way, type WayName } from './ways.js';

export type WorkKey =
  | 'kept-alive'
  | 'new'
  | 'download'
  | 'upload'
  | 'fixed rate'
  | 'websockets'
  | 'idle'
  | 'receiver, each'
  | 'receiver, kept';

/** What a work is done by: a whole way to the application, or a receiver alone. */
export type Doer = WayName | ReceiverName;

/** CPU and memory are of nginx and Node.js together where neither is named. */
export type Metric =
  | 'rate'
  | 'p50'
  | 'p99'
  | 'CPU'
  | 'CPU of nginx'
  | 'CPU of Node.js'
  | "nginx's share of CPU"
  | 'memory'
  | 'memory of nginx'
  | 'memory of Node.js'
  | 'memory of the kernel';

export type Sample = Partial<Record<Metric, number>>;

/** What CPU time and the rate are told of; with `client`, memory. */
export type Unit = 'request' | 'GB' | 'client' | 'handover';

export interface Work<By extends Doer = Doer> {
  readonly key: WorkKey;
  readonly name: string;
  readonly unit: Unit;
  /** The first of them is what the others are compared with. */
  readonly ways: readonly By[];
  readonly rounds: number;
  /** Whether a first round is to warm code, connections and files: not where each measurement has new processes. */
  readonly isWarmedUp: boolean;
  /** Before the ways of each round. */
  prepare?(): Promise<void>;
  measure(way: By): Promise<Sample>;
}

const CONNECTIONS = 32;
const FIXED_LOAD = 0.7;
/** Of 10,000 clients one worker would need more descriptors for proxying than many machines let a process have. */
const IDLE_WORKERS = 2;
/** Until a first idle moment is over: sockets closed, buffers given back. */
const SETTLE_MS = 300;
const THROUGH: readonly WayName[] = ['fd_pass', 'proxy_pass', 'scgi_pass', 'straight to Node.js'];
/** Where it makes a difference. */
const WITHOUT_CHANNEL: WayName = 'fd_pass, a connection each';
const NOT_LEAN: WayName = 'fd_pass, not lean';
/** scgi_pass has not the capacity. */
const FIXED_RATE: readonly WayName[] = ['fd_pass', 'proxy_pass', 'straight to Node.js'];
/** scgi_pass knows no upgrade, and keeps no connection to the backend open. */
const IDLE: readonly WayName[] = ['fd_pass', 'proxy_pass', 'straight to Node.js'];

/** Requests and transfers, on ways that run all the time. */
export function loads(running: RunningWays, parameters: Parameters): Work<WayName>[] {
  const { rounds, seconds, transfers, downloadBytes, uploadBytes } = parameters;
  const common = { ways: THROUGH, rounds, isWarmedUp: true } as const;
  const body = uploadBody(uploadBytes);
  const asking = (way: Way) => ({ port: way.port, path: '/hello', connections: CONNECTIONS, seconds });
  let fixedRate = 0;

  const hello = (...options: string[]) => {
    return async (way: Way): Promise<Done> => {
      const { requests, rate, p50Ms, p99Ms } = await wrk(
        `http://127.0.0.1:${way.port}/hello`,
        seconds,
        ...options,
      );
      return { units: requests, rate, p50: p50Ms, p99: p99Ms };
    };
  };
  const work = (
    fixed: Pick<Work, 'key' | 'name' | 'unit'>,
    load: (way: Way) => Promise<Done>,
  ): Work<WayName> => ({
    ...common,
    ...fixed,
    measure: (way) => measureLoad(running.get(way), load),
  });

  return [
    {
      ...work(
        { key: 'kept-alive', name: `hello JSON, kept-alive, ${CONNECTIONS} connections`, unit: 'request' },
        hello(),
      ),
      ways: [...THROUGH, WITHOUT_CHANNEL],
    },
    {
      ...work(
        { key: 'new', name: 'hello JSON, a new connection each', unit: 'request' },
        hello(...NEW_CONNECTION_EACH),
      ),
      ways: [...THROUGH, WITHOUT_CHANNEL, NOT_LEAN],
    },
    {
      ...work(
        { key: 'download', name: `${downloadBytes / 1e6} MB download`, unit: 'GB' },
        transfer(transfers, downloadBytes, (way) => download(way.port, '/download')),
      ),
      ways: [...THROUGH, 'nginx static'],
    },
    work(
      { key: 'upload', name: `${uploadBytes / 1e6} MB upload, hashed`, unit: 'GB' },
      transfer(transfers, uploadBytes, (way) => upload(way.port, '/upload', body)),
    ),
    {
      ...work(
        { key: 'fixed rate', name: 'hello JSON at a fixed rate, 70 % of proxy_pass', unit: 'request' },
        async (way) => {
          const { requests, rate, p50Ms, p99Ms } = await askAtRate(asking(way), fixedRate);
          return { units: requests, rate, p50: p50Ms, p99: p99Ms };
        },
      ),
      ways: FIXED_RATE,
      prepare: async () => {
        fixedRate = FIXED_LOAD * (await askAtCapacity(asking(running.get('proxy_pass')))).rate;
      },
    },
  ];
}

/** Clients that stay, each time on processes that have had no others. */
export function idleWorks(scene: Scene, { idleRounds, idleClients }: Parameters): Work<WayName>[] {
  const clients = idleClients.toLocaleString('en');
  const common = { unit: 'client', ways: IDLE, rounds: idleRounds, isWarmedUp: false } as const;
  const measure = (greeting: Greeting) => (way: WayName) => measureIdle(scene, way, idleClients, greeting);
  return [
    { ...common, key: 'websockets', name: `${clients} idle WebSockets`, measure: measure(WEB_SOCKET) },
    { ...common, key: 'idle', name: `${clients} idle kept-alive clients`, measure: measure(KEPT_ALIVE) },
  ];
}

/** What a load did. */
interface Done {
  readonly units: number;
  /** Units a second. */
  readonly rate: number;
  /** Milliseconds. */
  readonly p50?: number;
  readonly p99?: number;
}

/** So many transfers, one after the other. @param run one of them; resolves with its seconds */
function transfer(
  transfers: number,
  bytes: number,
  run: (way: Way) => Promise<number>,
): (way: Way) => Promise<Done> {
  const units = (transfers * bytes) / 1e9;
  return async (way) => {
    let seconds = 0;
    for (let number = 0; number < transfers; number++) seconds += await run(way);
    return { units, rate: units / seconds };
  };
}

/** CPU in seconds a unit, memory in bytes. */
async function measureLoad(way: Way, load: (way: Way) => Promise<Done>): Promise<Sample> {
  const nginxBefore = cpuSeconds(way.nginxPids);
  const nodeBefore = cpuSeconds(way.nodePids);
  const { units, ...done } = await load(way);
  const nginx = cpuSeconds(way.nginxPids) - nginxBefore;
  const node = cpuSeconds(way.nodePids) - nodeBefore;
  const memory = memoryOf(way);
  return {
    ...done,
    CPU: (nginx + node) / units,
    'CPU of nginx': nginx / units,
    'CPU of Node.js': node / units,
    "nginx's share of CPU": nginx / (nginx + node),
    memory: memory.nginx + memory.node,
    'memory of nginx': memory.nginx,
    'memory of Node.js': memory.node,
  };
}

/** Memory in bytes a client: what was there without clients does not count. */
async function measureIdle(scene: Scene, name: WayName, count: number, greeting: Greeting): Promise<Sample> {
  const running = await startWays(scene, [name], { maxClients: count, workers: IDLE_WORKERS });
  try {
    const way = running.get(name);
    // The first few bring in code and buffers that the others share.
    await (await openIdleClients(way.port, Math.min(count, CONNECTIONS), greeting)).close();
    const before = await settledMemory(way);
    const clients = await openIdleClients(way.port, count, greeting);
    const after = await settledMemory(way);
    await clients.close();
    const nginx = (after.nginx - before.nginx) / count;
    const node = (after.node - before.node) / count;
    return {
      memory: nginx + node,
      'memory of nginx': nginx,
      'memory of Node.js': node,
      'memory of the kernel': (after.kernel - before.kernel) / count,
    };
  } finally {
    await running.close();
  }
}

async function settledMemory(way: Way) {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  await way.collectGarbage();
  return memoryOf(way);
}
