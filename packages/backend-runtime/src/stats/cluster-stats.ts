// One scrape for all processes of node:cluster: the primary asks every worker for its snapshot and adds them up. Whoever is scraped, the
// primary or a worker, gives the same answer.
import cluster, { type Worker } from 'node:cluster';
import { randomUUID } from 'node:crypto';
import { RuntimeError } from '../errors.js';
import type { SnapshotSource } from './scrape.js';
import { addSnapshots, type PairFilter, type StatsSnapshot } from './snapshot.js';

/** Between primary and workers, either way. */
type Message =
  | { readonly fdpass: 'ask'; readonly id: string; readonly filter: PairFilter }
  | { readonly fdpass: 'answer'; readonly id: string; readonly snapshot: StatsSnapshot };

/** A worker that is busy for longer is left out. */
const WORKER_TIMEOUT_MS = 4000;
/** Longer: the primary may wait for a worker that is busy. */
const PRIMARY_TIMEOUT_MS = 8000;

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'fdpass' in value && 'id' in value;

/** Sends a message; `onLost` is called if the other process is gone, which nobody may have noticed yet. */
type Send = (message: Message, onLost: () => void) => void;

/** Questions that were asked of the other side. */
class Questions {
  readonly #open = new Map<string, (snapshot: StatsSnapshot | undefined) => void>();

  /** @returns undefined if no answer came in time */
  ask(send: Send, filter: PairFilter, timeoutMs: number): Promise<StatsSnapshot | undefined> {
    // Somebody else may ask as well.
    const id = randomUUID();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answer(id, undefined), timeoutMs);
      this.#open.set(id, (snapshot) => {
        clearTimeout(timer);
        resolve(snapshot);
      });
      send({ fdpass: 'ask', id, filter }, () => this.answer(id, undefined));
    });
  }

  answer(id: string, snapshot: StatsSnapshot | undefined): void {
    this.#open.get(id)?.(snapshot);
    this.#open.delete(id);
  }
}

/**
 * For {@link scrapeListener} in a worker of node:cluster, where it is called with the worker's stats, and once in the primary, without
 * any. In a worker whose primary has not called it a scrape tells that worker alone.
 * @throws `BKR_ERR_OPTION` if there is no cluster, or stats in the primary
 */
export function clusterStats(stats?: SnapshotSource): SnapshotSource {
  if (cluster.isPrimary !== (stats === undefined)) {
    throw new RuntimeError('BKR_ERR_OPTION', 'stats', "a worker's own, and none in the primary");
  }
  return stats === undefined ? primarySource() : workerSource(stats);
}

function primarySource(): SnapshotSource {
  const questions = new Questions();
  const source: SnapshotSource = {
    snapshot: async (filter = {}) => {
      const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);
      const answers = await Promise.all(
        workers.map((worker) => questions.ask(sendTo(worker), filter, WORKER_TIMEOUT_MS)),
      );
      const snapshots = answers.filter((answer) => answer !== undefined);
      if (snapshots.length === 0) throw new RuntimeError('BKR_ERR_NO_STATS');
      return addSnapshots(snapshots);
    },
  };
  cluster.on('message', async (worker: Worker, message: unknown) => {
    if (!isMessage(message)) return;
    if (message.fdpass === 'answer') return questions.answer(message.id, message.snapshot);
    const snapshot = await source.snapshot(message.filter).catch(() => undefined);
    if (snapshot !== undefined) sendTo(worker)({ fdpass: 'answer', id: message.id, snapshot }, () => {});
  });
  return source;
}

/** Without a callback an error would be an event of the worker, and end the primary if nobody listens. */
const sendTo =
  (worker: Worker): Send =>
  (message, onLost) => {
    if (worker.isConnected()) worker.send(message, (error) => error !== null && onLost());
    else onLost();
  };

function workerSource(stats: SnapshotSource): SnapshotSource {
  const questions = new Questions();
  const send: Send = (message, onLost) => {
    if (process.connected)
      process.send?.(message, undefined, undefined, (error) => error !== null && onLost());
    else onLost();
  };
  process.on('message', async (message: unknown) => {
    if (!isMessage(message)) return;
    if (message.fdpass === 'answer') return questions.answer(message.id, message.snapshot);
    const snapshot = await stats.snapshot(message.filter);
    send({ fdpass: 'answer', id: message.id, snapshot }, () => {});
  });
  return {
    snapshot: async (filter = {}) =>
      (await questions.ask(send, filter, PRIMARY_TIMEOUT_MS)) ?? stats.snapshot(filter),
  };
}
