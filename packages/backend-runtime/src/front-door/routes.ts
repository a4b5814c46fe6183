// The listeners of a front door as its user writes them, checked: where each one listens, which clients are its own, and which backends
// they go to. Opens nothing.

import { backendPath } from '../backend-path.js';
import { RuntimeError } from '../errors.js';
import { isDeviceName } from '../ingress/interface-rules.js';
import { native } from '../native.js';
import { checkInteger, checkMembers, checkOption } from '../option-check.js';
import { type Prefix, parsePrefix } from '../routing/prefix.js';
import { isTcpListener } from './listener.js';
import type { FrontDoorRoute } from './options.js';

/** One listener. */
export interface Route {
  /** As `listeners[2]`. */
  readonly place: string;
  readonly host: string;
  readonly port: number;
  /** Inherited; bound to `host` and `port`. */
  readonly fd: number | undefined;
  /** A client is this listener's if one of them is the best of all that match. */
  readonly rules: readonly RouteRule[];
  /** Paths, in the order in which they are tried. */
  readonly backends: readonly string[];
}

export interface RouteRule {
  /** As `listeners[2].prefixes[0]`. */
  readonly place: string;
  /** Undefined: every address. */
  readonly prefix: Prefix | undefined;
  /** Name of an interface. Undefined: every one. */
  readonly ingress: string | undefined;
}

/** Listeners that share a port. */
export interface RouteGroup {
  /** The same for two groups only if they are for the same place. */
  readonly key: string;
  readonly host: string;
  readonly port: number;
  readonly routes: readonly [Route, ...Route[]];
}

const MEMBERS = ['host', 'port', 'fd', 'prefixes', 'ingress', 'to'];

/** Where a client's own address is not known before it comes. */
const WILDCARDS: ReadonlySet<string> = new Set(['::', '0.0.0.0']);

/** @throws BKR_ERR_OPTION, BKR_ERR_PREFIX, BKR_ERR_PREFIX_TWICE, with the listener's place */
export function frontDoorRoutes(listeners: readonly FrontDoorRoute[]): Route[] {
  checkOption(
    'listeners',
    Array.isArray(listeners) && listeners.length > 0,
    'a list with at least one entry',
  );
  const routes = listeners.map(checkRoute);
  const places = new Map<number, string>();
  for (const { place, fd } of routes) {
    if (fd === undefined) continue;
    checkOption(`${place}.fd`, !places.has(fd), `another one than ${places.get(fd)}.fd`);
    places.set(fd, place);
  }
  for (const group of groupsOf(routes)) checkRules(group.routes);
  return routes;
}

/** In the order of their first listeners. */
export function groupsOf(routes: readonly Route[]): RouteGroup[] {
  const groups = new Map<string, [Route, ...Route[]]>();
  const shared = new Set(
    routes.filter((route) => !isPlain(route)).map(({ host, port }) => `${host} ${port}`),
  );
  let chosenByKernel = 0;
  for (const route of routes) {
    let key = `${route.host} ${route.port}`;
    // Of those that do not split a port each gets another one.
    if (route.port === 0 && !shared.has(key)) key += ` ${chosenByKernel++}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [route]);
    else group.push(route);
  }
  return Array.from(groups, ([key, routes]) => {
    const [{ host, port }] = routes;
    return { key, host, port, routes };
  });
}

/** Whether every client of the port is this listener's. */
const isPlain = ({ rules }: Route): boolean =>
  rules.every(({ prefix, ingress }) => prefix === undefined && ingress === undefined);

function checkRoute(route: FrontDoorRoute, index: number): Route {
  const place = `listeners[${index}]`;
  checkOption(place, typeof route === 'object' && route !== null, 'an object with a port and "to"');
  checkMembers(place, route, MEMBERS);
  const { fd, prefixes, ingress, to } = route;
  const { host, port } = fd === undefined ? checkAddress(route, place) : inheritedAddress(route, fd, place);
  checkOption(
    `${place}.ingress`,
    ingress === undefined || isDeviceName(ingress),
    'the name of an interface: 1 to 15 bytes without "/", ":", "%" and white space, and not "." or ".."',
  );
  if (prefixes !== undefined || ingress !== undefined) {
    const name = `${place}.${fd === undefined ? 'host' : 'fd'}`;
    checkOption(name, WILDCARDS.has(host), "for all addresses, '::' or '0.0.0.0', with prefixes or ingress");
  }
  const targets = typeof to === 'string' ? [to] : to;
  checkOption(
    `${place}.to`,
    Array.isArray(targets) && targets.length > 0,
    'a UNIX socket, or a list of them',
  );
  return {
    place,
    host,
    port,
    fd,
    rules: checkPrefixes(prefixes, place, host).map((rule) => ({ ...rule, ingress })),
    backends: targets.map((target) => backendPath(target, `${place}.to`)),
  };
}

type Address = Pick<Route, 'host' | 'port'>;

function checkAddress({ host = '127.0.0.1', port }: FrontDoorRoute, place: string): Address {
  checkOption(`${place}.host`, typeof host === 'string' && host !== '', 'an IP address or a name');
  checkInteger(`${place}.port`, port as number, 0, 65_535);
  return { host, port: port as number };
}

/** Loads the addon. */
function inheritedAddress({ host, port }: FrontDoorRoute, fd: number, place: string): Address {
  checkOption(place, host === undefined && port === undefined, 'without host and port where fd is given');
  checkInteger(`${place}.fd`, fd, 0, 2 ** 31 - 1);
  checkOption(`${place}.fd`, isTcpListener(fd), 'a listening TCP socket');
  const { address, port: bound } = native().localAddress(fd);
  return { host: address, port: bound };
}

function checkPrefixes(
  prefixes: readonly string[] | undefined,
  place: string,
  host: string,
): { place: string; prefix: Prefix | undefined }[] {
  if (prefixes === undefined) return [{ place, prefix: undefined }];
  const list = `${place}.prefixes`;
  checkOption(list, Array.isArray(prefixes) && prefixes.length > 0, 'a list with at least one prefix');
  return prefixes.map((text, nth) => {
    const prefix = parsePrefix(text, `${list}[${nth}]`);
    checkOption(`${list}[${nth}]`, host === '::' || prefix.family === 'ipv4', "of IPv4 with host '0.0.0.0'");
    return { place: `${list}[${nth}]`, prefix };
  });
}

/** @throws BKR_ERR_PREFIX_TWICE */
function checkRules(routes: readonly Route[]): void {
  const places = new Map<string, string>();
  for (const { place, prefix, ingress } of routes.flatMap(({ rules }) => rules)) {
    const key = `${prefix?.key} ${ingress}`;
    const other = places.get(key);
    if (other !== undefined) {
      const what = `${prefix?.text ?? 'every address'}${ingress === undefined ? '' : ` by ${ingress}`}`;
      throw new RuntimeError('BKR_ERR_PREFIX_TWICE', place, other, what);
    }
    places.set(key, place);
  }
}
