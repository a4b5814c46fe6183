// Which of many patterns a connection matches best: by its local address and port, its source address and its ingress interface, all at
// once. Built whole and never changed.
import { RuntimeError } from '../errors.js';
import { checkOption } from '../option-check.js';
import { checkTableSize, LpmTable } from './lpm-table.js';
import { type HostBits, parsePrefix } from './prefix.js';

/** What a connection must be like; what is left out matches everything. */
export interface ConnectionPattern {
  /** Of the local address: CIDR text. */
  prefix?: string | undefined;
  /** The local port, 1 to 65535. */
  port?: number | undefined;
  /** Of the client's address: CIDR text. */
  source?: string | undefined;
  /** Source tag of the ingress interface, or the interface's name where it has no tag. */
  ingress?: string | undefined;
}

export interface ConnectionRule<Value> extends ConnectionPattern {
  value: Value;
}

/** What is looked up; each is asked for only if some pattern needs it. */
export interface MatchedFacts {
  readonly local: { readonly address: string; readonly port: number } | undefined;
  /** The client's address. */
  readonly source: string | undefined;
  readonly ingress: string | undefined;
}

export interface ConnectionTableOptions {
  /** As the LPM table has it. @default 'refuse' */
  hostBits?: HostBits | undefined;
  /** As the LPM table has it, for the local prefixes of rules without a source and an interface. @default false */
  strict?: boolean | undefined;
  /** Where the rules are written, for errors: a rule is `place[index]`. @default 'rules' */
  place?: string;
}

/** By ingress interface; what is for every one has none. */
type ByIngress<Value> = Map<string | undefined, Value>;

/** Of one local prefix and port. */
interface BySource<Value> {
  readonly table: LpmTable<ByIngress<Value>> | undefined;
  readonly any: ByIngress<Value> | undefined;
}

type Numbered<Value> = ConnectionRule<Value> & { readonly index: number };

/**
 * Of the rules that match, the one with the longest local prefix counts; of equal ones that with the port; then the longest source
 * prefix; then that with the ingress interface. A rule that matches in part keeps no shorter one from being found.
 */
export class ConnectionTable<Value extends {}> {
  /** Rules. */
  readonly size: number;
  /** Some rule asks for the ingress interface. */
  readonly asksIngress: boolean;
  readonly #locals: LpmTable<BySource<Value>>;

  /**
   * @throws `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_PREFIX_OVERLAP`, `BKR_ERR_PREFIX_TABLE`, `BKR_ERR_OPTION`, with the
   * rule's place
   */
  constructor(rules: readonly ConnectionRule<Value>[], options: ConnectionTableOptions = {}) {
    const { place = 'rules', hostBits, strict } = options;
    const placeOf = (index: number): string => `${place}[${index}]`;
    checkTableSize(rules, placeOf);
    const numbered: Numbered<Value>[] = rules.map((rule, index) => ({ ...rule, index }));
    for (const { index, ingress } of numbered) checkIngress(placeOf(index), ingress);
    const keyOf = (text: string | undefined, name: string): string =>
      text === undefined ? '' : parsePrefix(text, name, hostBits).key;
    const groups = grouped(
      numbered,
      ({ index, prefix, port }) => `${keyOf(prefix, `${placeOf(index)}.prefix`)} ${port}`,
    );
    this.size = numbered.length;
    this.asksIngress = numbered.some(({ ingress }) => ingress !== undefined);
    this.#locals = new LpmTable(
      groups.map((group) => {
        const { prefix, port } = group[0];
        const bySource = grouped(group, ({ index, source }) => keyOf(source, `${placeOf(index)}.source`));
        return { prefix, port, value: sourcesOf(bySource, hostBits, placeOf) };
      }),
      { hostBits, strict, place: (nth) => placeOf(groups[nth]?.[0].index ?? 0) },
    );
  }

  /** @returns the value of the rule that counts; undefined if none matches */
  match(facts: MatchedFacts): Value | undefined {
    return this.find(facts, (value) => value);
  }

  /**
   * Goes through all rules that match, from the one that counts to the one that would count last, until `pick` makes something of one.
   * @returns what `pick` returned last, undefined if it was undefined for all
   */
  find<Result>(facts: MatchedFacts, pick: (value: Value) => Result | undefined): Result | undefined {
    const { local } = facts;
    const pickByIngress = (byIngress: ByIngress<Value>): Result | undefined => {
      const name = this.asksIngress ? facts.ingress : undefined;
      const own = name === undefined ? undefined : byIngress.get(name);
      const any = byIngress.get(undefined);
      return (own === undefined ? undefined : pick(own)) ?? (any === undefined ? undefined : pick(any));
    };
    return this.#locals.find(
      local?.address,
      local?.port ?? 0,
      ({ table, any }) => table?.find(facts.source, 0, pickByIngress) ?? (any && pickByIngress(any)),
    );
  }
}

/** @throws `BKR_ERR_OPTION` */
export function checkIngress(place: string, ingress: string | undefined): void {
  const isRight = ingress === undefined || (typeof ingress === 'string' && ingress !== '');
  checkOption(`${place}.ingress`, isRight, 'the source tag or the name of an interface');
}

type Group<Item> = [Item, ...Item[]];

function grouped<Item>(items: readonly Item[], keyOf: (item: Item) => unknown): Group<Item>[] {
  const groups = new Map<unknown, Group<Item>>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

/** @param groups of equal source prefixes */
function sourcesOf<Value extends {}>(
  groups: readonly Group<Numbered<Value>>[],
  hostBits: HostBits | undefined,
  placeOf: (index: number) => string,
): BySource<Value> {
  let any: ByIngress<Value> | undefined;
  const entries: { prefix: string; value: ByIngress<Value> }[] = [];
  for (const group of groups) {
    const byIngress = ingressesOf(group, placeOf);
    const [{ source }] = group;
    if (source === undefined) any = byIngress;
    else entries.push({ prefix: source, value: byIngress });
  }
  return { table: entries.length === 0 ? undefined : new LpmTable(entries, { hostBits }), any };
}

function ingressesOf<Value>(
  group: Group<Numbered<Value>>,
  placeOf: (index: number) => string,
): ByIngress<Value> {
  const byIngress: ByIngress<Value> = new Map();
  const places = new Map<string | undefined, string>();
  for (const { index, prefix, port, source, ingress, value } of group) {
    const other = places.get(ingress);
    if (other !== undefined) {
      const pattern = Object.entries({ prefix, port, source, ingress }).filter(
        ([, each]) => each !== undefined,
      );
      const text = pattern.map(([name, each]) => `${name} ${each}`).join(', ') || 'every connection';
      throw new RuntimeError('BKR_ERR_PREFIX_TWICE', placeOf(index), other, text);
    }
    places.set(ingress, placeOf(index));
    byIngress.set(ingress, value);
  }
  return byIngress;
}
