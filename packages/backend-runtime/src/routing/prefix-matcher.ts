// Which of some values is for a connection, by its local prefix, its port, its source and its interface: for a handler of plain http. Also the
// form such a pattern has for users, which is that of route constraints as well.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { factsOf } from '../connection-info.js';
import { checkInteger, checkMembers, checkOption } from '../option-check.js';
import { type ConnectionPattern, ConnectionTable, checkIngress } from './connection-table.js';
import { MatchedConnection } from './matched-connection.js';
import { parsePrefix } from './prefix.js';

/** What a connection must be like, all of it together; what is left out matches every connection. */
export interface ConnectionConstraint {
  /** Of the address the client connected to: CIDR text, or an address alone. @default every address */
  localPrefix?: string | undefined;
  /** The port the client connected to, 1 to 65535. @default every port */
  port?: number | undefined;
  /** Of the client's address, as the sender says: CIDR text, or an address alone. @default every client */
  sourcePrefix?: string | undefined;
  /** Source tag of the ingress interface, or the interface's name where no middleware gives tags. @default every interface */
  ingress?: string | undefined;
}

/** A pattern, and what is for the connections it matches. */
export interface PrefixRule<Value> extends ConnectionConstraint {
  value: Value;
}

/** @returns undefined if no rule matches, and for what did not come by handover */
export type MatchPrefix<Value> = (of: IncomingMessage | Socket) => Value | undefined;

/**
 * `const matchPrefix = prefixMatcher([{ localPrefix: '203.0.113.0/24', value: site }])`, then `matchPrefix(request)`. Of the rules that
 * match, the one with the longest local prefix counts; of equal ones that with the port; then the longest source prefix; then that with the
 * interface. Values may be anything but undefined and null.
 * @throws `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE`, `BKR_ERR_OPTION`, with the rule's place
 */
export function prefixMatcher<Value extends {}>(rules: readonly PrefixRule<Value>[]): MatchPrefix<Value> {
  checkOption('rules', Array.isArray(rules), 'an array');
  const table = new ConnectionTable(
    rules.map((rule, index) => {
      const place = `rules[${index}]`;
      const pattern = patternOf(rule, place, ['value']);
      checkOption(`${place}.value`, rule.value !== undefined && rule.value !== null, 'there');
      return { ...pattern, value: rule.value };
    }),
  );
  return (of) => {
    const facts = factsOf(of);
    return facts === undefined ? undefined : table.match(new MatchedConnection(facts));
  };
}

const MEMBERS = ['localPrefix', 'port', 'sourcePrefix', 'ingress'];

/**
 * @param others what else may be in it
 * @throws `BKR_ERR_PREFIX`, `BKR_ERR_OPTION`, with the place
 */
export function patternOf(
  constraint: ConnectionConstraint,
  place: string,
  others: readonly string[] = [],
): ConnectionPattern {
  checkOption(place, typeof constraint === 'object' && constraint !== null, 'an object');
  checkMembers(place, constraint, [...MEMBERS, ...others]);
  const { localPrefix, port, sourcePrefix, ingress } = constraint;
  if (port !== undefined) checkInteger(`${place}.port`, port, 1, 65_535);
  checkIngress(place, ingress);
  return {
    prefix: canonical(localPrefix, `${place}.localPrefix`),
    port,
    source: canonical(sourcePrefix, `${place}.sourcePrefix`),
    ingress,
  };
}

const canonical = (prefix: string | undefined, place: string): string | undefined =>
  prefix === undefined ? undefined : parsePrefix(prefix, place).text;
