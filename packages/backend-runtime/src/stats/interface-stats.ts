// Stats for each ingress interface: finds the pair of each handover, and keeps what is not counted for a pair. The middleware itself,
// without the ways to read it.
import { InterfaceTable } from '../ingress/interface-table.js';
import type { HandoverExtension, HandoverMiddleware, IncomingHandover } from '../middleware.js';
import { Roster } from '../roster.js';
import type { HandoverServer } from '../server.js';
import { ConnectionRecord } from './connection-record.js';
import { KINDS, Layout } from './layout.js';
import { type InterfaceStatsOptions, type ResolvedStatsOptions, resolveStatsOptions } from './options.js';
import { PairTable } from './pair-table.js';
import { nextTurn, type PairFilter, type StatsSnapshot, takeSnapshot } from './snapshot.js';
import { isIPv4, vipOf } from './vip.js';

const TICK_MS = 1000;

export class InterfaceStats implements HandoverExtension {
  /** @internal */
  readonly options: ResolvedStatsOptions;
  /** @internal */
  readonly pairs: PairTable;
  /** Handovers, one number for each of {@link KINDS}, by source tag. @internal */
  readonly handovers = new Map<string, Float64Array>();
  /** Handover errors by code. @internal */
  readonly errors = new Map<string, number>();
  /** Connections from an interface that no rule names. @internal */
  missCount = 0;
  readonly #table: InterfaceTable;
  readonly #open = new Roster<ConnectionRecord>();
  readonly #listening = new Set<HandoverServer>();
  #timer: NodeJS.Timeout | undefined;
  #tickedMs = 0;

  /** @throws `BKR_ERR_OPTION` */
  constructor(options: InterfaceStatsOptions = {}) {
    this.options = resolveStatsOptions(options);
    this.#table = new InterfaceTable(this.options.interfaces, this.options);
    this.pairs = new PairTable(new Layout(this.options.buckets), this.options.maxPairs);
  }

  /** For {@link HandoverServer.use}, which calls {@link attach} as well when it is given the stats themselves. */
  readonly middleware: HandoverMiddleware = (handover, next) => {
    this.#count(handover);
    next();
  };

  /** Follows a server's life and its errors. */
  attach(server: HandoverServer): void {
    server.on('handoverError', ({ code }: { code: string }) => {
      this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
    });
    server.on('listening', () => this.#start(server));
    server.on('close', () => this.#stop(server));
    if (server.listening) this.#start(server);
  }

  /** All numbers, as plain data; long tables in several turns of the event loop. @param filter of the pairs */
  async snapshot(filter?: PairFilter): Promise<StatsSnapshot> {
    await this.#foldOpen();
    return takeSnapshot(this, filter);
  }

  #count(handover: IncomingHandover): void {
    const { info } = handover;
    const { local } = info;
    const sourceTag = this.#sourceTag(handover, isIPv4(local));
    info.sourceTag = sourceTag;
    const kinds = this.handovers.get(sourceTag) ?? new Float64Array(KINDS.length);
    this.handovers.set(sourceTag, kinds);
    (kinds[KINDS.indexOf(handover.kind)] as number)++;
    const pair = this.pairs.pair(sourceTag, vipOf(local, this.options.vipPort));
    const record = new ConnectionRecord(pair, info, this.#forget);
    this.#open.add(record);
    handover.observe(record);
  }

  #sourceTag({ info }: IncomingHandover, isV4: boolean): string {
    const { defaultTag, interfaces } = this.options;
    if (interfaces.length === 0) return defaultTag;
    const { ifindex } = info;
    // A relay has no socket of the client's to ask.
    if (ifindex === undefined) return defaultTag;
    const tag = this.#table.tagOf(ifindex, isV4 ? 'ipv4' : 'ipv6');
    if (tag === undefined) this.missCount++;
    return tag ?? defaultTag;
  }

  readonly #forget = (record: ConnectionRecord): void => {
    this.#open.delete(record);
  };

  #start(server: HandoverServer): void {
    // It may be listening already when it is followed, and say so again.
    if (this.#listening.has(server)) return;
    if (this.#listening.add(server).size > 1) return;
    this.#table.start();
    this.#tickedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref();
  }

  #stop(server: HandoverServer): void {
    if (!this.#listening.delete(server) || this.#listening.size > 0) return;
    clearInterval(this.#timer);
    this.#table.stop();
  }

  #tick(): void {
    const nowMs = performance.now();
    const elapsedSeconds = (nowMs - this.#tickedMs) / 1000;
    this.#tickedMs = nowMs;
    for (const pair of this.pairs.pairs) pair.updateRates(elapsedSeconds);
  }

  /** What open connections have sent and received until now. */
  async #foldOpen(): Promise<void> {
    let done = 0;
    for (const record of [...this.#open]) {
      record.foldWireBytes();
      if (++done % 1000 === 0) await nextTurn();
    }
  }
}

/**
 * `server.use(interfaceStats({ interfaces: [{ device: 'gre-mg1', tag: 'mg1' }] }))`: counts requests, bytes, durations and connections
 * for each ingress interface and address.
 * @throws `BKR_ERR_OPTION`
 */
export const interfaceStats = (options: InterfaceStatsOptions = {}): InterfaceStats =>
  new InterfaceStats(options);
