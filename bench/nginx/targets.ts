// What handing a client over is to be worth: the figures that fd_pass and the receiver alone have to reach, each against what it is
// compared with.
import type { Bound } from '../statistics.js';
import type { Doer, Metric, WorkKey } from './works.js';

export interface Target {
  readonly work: WorkKey;
  readonly metric: Metric;
  /** What the figure is divided by; without it the figure itself is to keep the bound. */
  readonly against?: Doer;
  readonly bound: Bound;
}

const PROXY = 'proxy_pass';
const STRAIGHT = 'straight to Node.js';
const IN_C = 'receiver in C';

export const TARGETS: readonly Target[] = [
  { work: 'kept-alive', against: PROXY, metric: 'rate', bound: { atLeast: 1.3 } },
  { work: 'kept-alive', against: PROXY, metric: 'CPU', bound: { atMost: 0.7 } },
  { work: 'kept-alive', against: STRAIGHT, metric: 'rate', bound: { atLeast: 0.97 } },
  { work: 'new', against: PROXY, metric: 'CPU', bound: { atMost: 1 } },
  { work: 'new', against: PROXY, metric: 'rate', bound: { atLeast: 1 } },
  { work: 'download', against: PROXY, metric: 'rate', bound: { atLeast: 3 } },
  { work: 'download', against: PROXY, metric: 'CPU', bound: { atMost: 0.33 } },
  { work: 'download', against: 'nginx static', metric: 'rate', bound: { atLeast: 0.95 } },
  { work: 'upload', against: PROXY, metric: 'rate', bound: { atLeast: 1.2 } },
  { work: 'upload', against: PROXY, metric: 'CPU', bound: { atMost: 0.8 } },
  // In percent. "About 0": what nginx does before it hands over.
  { work: 'upload', metric: "nginx's share of CPU", bound: { atMost: 2 } },
  { work: 'websockets', against: PROXY, metric: 'memory', bound: { atMost: 0.6 } },
  { work: 'idle', against: STRAIGHT, metric: 'memory', bound: { atMost: 0.7 } },
  { work: 'receiver, each', against: IN_C, metric: 'rate', bound: { atLeast: 0.6 } },
  { work: 'receiver, kept', against: IN_C, metric: 'rate', bound: { atLeast: 0.6 } },
  { work: 'fixed rate', against: PROXY, metric: 'p99', bound: { atMost: 1 } },
];

/** Such as ">= 1.3", "<= 0.7". */
export const boundText = (bound: Bound): string =>
  'atLeast' in bound ? `>= ${bound.atLeast}` : `<= ${bound.atMost}`;
