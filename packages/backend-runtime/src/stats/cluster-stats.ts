// One scrape for all processes of node:cluster: the primary asks every worker for its snapshot and adds them up. Whoever is scraped, the
// primary or a worker, gives the same answer.
import cluster, { type Worker } from 'node:cluster';
import { RuntimeError } from '../errors.js';
import type { SnapshotSource } from './scrape.js';
import { addSnapshots, type PairFilter, type StatsSnapshot } from './snapshot.js';

/** Between primary and workers, either way. */
type Message =
  | { readonly fdpass: 'ask'; readonly id: number; readonly filter: PairFilter }
  | { readonly fdpass: 'answer'; readonly id: number; readonly snapshot: StatsSnapshot };

/** A worker that is busy for longer is left out. */
const TIMEOUT_MS = 5000;

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'fdpass' in value && 'id' in value;

/** Questions that were asked of the other side, by number. */
class Questions {
  readonly #open = new Map<number, (snapshot: StatsSnapshot | undefined) => void>();
  #lastId = 0;

  /** @returns undefined if no answer came in time */
  ask(send: (message: Message) => unknown, filter: PairFilter): Promise<StatsSnapshot | undefined> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.answer(id, undefined), TIMEOUT_MS);
      this.#open.set(id, (snapshot) => {
        clearTimeout(timer);
        resolve(snapshot);
      });
      send({ fdpass: 'ask', id, filter });
    });
  }

  answer(id: number, snapshot: StatsSnapshot | undefined): void {
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
      const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected());
      const answers = await Promise.all(
        workers.map((worker) => questions.ask((message) => worker?.send(message), filter)),
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
    if (snapshot !== undefined && worker.isConnected())
      worker.send({ fdpass: 'answer', id: message.id, snapshot });
  });
  return source;
}

function workerSource(stats: SnapshotSource): SnapshotSource {
  const questions = new Questions();
  const send = (message: Message): unknown => process.connected && process.send?.(message);
  process.on('message', async (message: unknown) => {
    if (!isMessage(message)) return;
    if (message.fdpass === 'answer') questions.answer(message.id, message.snapshot);
    else send({ fdpass: 'answer', id: message.id, snapshot: await stats.snapshot(message.filter) });
  });
  return {
    snapshot: async (filter = {}) => (await questions.ask(send, filter)) ?? stats.snapshot(filter),
  };
}
