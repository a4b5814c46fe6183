// Middleware: which connections are let in at all, by prefixes that the client's address or the local address is in. What it denies ends before
// a byte of it is read, and is counted for the rule that denied it.
import { closeHandover } from '@fdpass/scgi-fdpass';
import { resetClient } from '../end-client.js';
import type { HandoverExtension, HandoverMiddleware } from '../middleware.js';
import { checkMembers, checkOption } from '../option-check.js';
import { LpmTable } from './lpm-table.js';
import { parsePrefix } from './prefix.js';

export interface AdmissionOptions {
  /** CIDR texts or addresses: connections from one of them or to one of them are denied, whatever `allow` says. @default none */
  block?: readonly string[];
  /** CIDR texts or addresses: with at least one, connections neither from nor to one of them are denied. @default none */
  allow?: readonly string[];
  /** What is done with a client that is denied: `close` is a clean end, `reset` a TCP reset. @default 'close' */
  action?: 'close' | 'reset';
  /** Only counts, and lets every connection in. @default false */
  dryRun?: boolean;
}

/** One rule's. */
export interface AdmissionCount {
  /** In canonical form, an address alone with its length. */
  readonly prefix: string;
  readonly connections: number;
}

/** Connections since the beginning; each is counted once. */
export interface AdmissionStats {
  /** Denied by each prefix of `block`, in its order. */
  readonly block: readonly AdmissionCount[];
  /** Let in by each prefix of `allow`, in its order. */
  readonly allow: readonly AdmissionCount[];
  /** Denied because there is an `allow` and they are in none of it. */
  readonly notAllowed: number;
}

interface Rule {
  readonly prefix: string;
  readonly length: number;
  connections: number;
}

/** One list of prefixes. */
class RuleList {
  readonly rules: readonly Rule[];
  readonly #table: LpmTable<Rule>;

  /**
   * @param before rules that stay go on counting
   * @throws `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_OPTION`
   */
  constructor(prefixes: readonly string[], place: string, before: RuleList | undefined) {
    checkOption(place, Array.isArray(prefixes), 'an array of prefixes');
    const placeOf = (index: number): string => `${place}[${index}]`;
    const counts = new Map(before?.rules.map(({ prefix, connections }) => [prefix, connections]));
    this.rules = prefixes.map((written, index) => {
      const { text: prefix, length } = parsePrefix(written, () => placeOf(index));
      return { prefix, length, connections: counts.get(prefix) ?? 0 };
    });
    this.#table = new LpmTable(
      this.rules.map((rule) => ({ prefix: rule.prefix, value: rule })),
      { place: placeOf },
    );
  }

  /** The rule with the longer prefix of the two that are found; of equal ones the source's. */
  find(source: string, local: string | undefined): Rule | undefined {
    const bySource = this.#table.lookup(source);
    const byLocal = this.#table.lookup(local);
    if (bySource === undefined || byLocal === undefined) return bySource ?? byLocal;
    return byLocal.length > bySource.length ? byLocal : bySource;
  }

  get counts(): AdmissionCount[] {
    return this.rules.map(({ prefix, connections }) => ({ prefix, connections }));
  }
}

/** Everything that {@link Admission.replace} replaces. */
interface Settings {
  readonly block: RuleList;
  readonly allow: RuleList;
  readonly isReset: boolean;
  readonly isDryRun: boolean;
}

/** Made by {@link admission}. */
export class Admission implements HandoverExtension {
  #settings: Settings;
  #notAllowed = 0;

  /** @throws as {@link admission} */
  constructor(options: AdmissionOptions) {
    this.#settings = settingsFrom(options);
  }

  /** For {@link HandoverServer.use}, which is given the admission itself. */
  readonly middleware: HandoverMiddleware = (handover, next) => {
    const { client, local } = handover.info;
    const { isReset, isDryRun } = this.#settings;
    if (this.#admits(client.address, local?.address) || isDryRun) return next();
    if (isReset) resetClient(handover.take());
    else closeHandover(handover.take());
  };

  /**
   * From now on these hold for new connections, instead of all options before. Prefixes that stay in their list go on counting. On an
   * error those before stay in force.
   * @throws as {@link admission}
   */
  replace(options: AdmissionOptions): void {
    this.#settings = settingsFrom(options, this.#settings);
  }

  /** A snapshot. */
  stats(): AdmissionStats {
    const { block, allow } = this.#settings;
    return { block: block.counts, allow: allow.counts, notAllowed: this.#notAllowed };
  }

  /** Decides, and counts it. */
  #admits(source: string, local: string | undefined): boolean {
    const { block, allow } = this.#settings;
    const blocking = block.find(source, local);
    if (blocking !== undefined) {
      blocking.connections++;
      return false;
    }
    if (allow.rules.length === 0) return true;
    const allowing = allow.find(source, local);
    if (allowing === undefined) {
      this.#notAllowed++;
      return false;
    }
    allowing.connections++;
    return true;
  }
}

/**
 * `server.use(admission({ block: ['192.0.2.0/24'] }))`, before other middleware. The source is the client as the sender names it, the other
 * address is the one it connected to. Clients of UNIX sockets are in no prefix.
 * @throws `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_OPTION`, with the place, as `block[2]`
 */
export const admission = (options: AdmissionOptions): Admission => new Admission(options);

const MEMBERS = ['block', 'allow', 'action', 'dryRun'];

function settingsFrom(options: AdmissionOptions, before?: Settings): Settings {
  checkMembers('admission', options, MEMBERS);
  const { block = [], allow = [], action = 'close', dryRun = false } = options;
  checkOption('action', action === 'close' || action === 'reset', "'close' or 'reset'");
  checkOption('dryRun', typeof dryRun === 'boolean', 'true or false');
  return {
    block: new RuleList(block, 'block', before?.block),
    allow: new RuleList(allow, 'allow', before?.allow),
    isReset: action === 'reset',
    isDryRun: dryRun,
  };
}
