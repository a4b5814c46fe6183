// `fdpass front`: the front door alone, until a signal ends it.
import { RuntimeError } from '../errors.js';
import { createFrontDoor, type FrontDoor } from '../front-door/index.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';
import { webAddress } from './web-address.js';

export interface FrontPair {
  listen: { host: string; port: number } | { fd: number };
  prefixes?: string[];
  ingress?: string;
  /** Absolute paths; tried in order. */
  to: string[];
}

/** Resolves when all addresses are bound. @throws `BKR_ERR_LISTEN`, `BKR_ERR_OPTION`, `BKR_ERR_PREFIX`, `BKR_ERR_PREFIX_TWICE` */
export async function front(pairs: readonly FrontPair[], options: { logLevel: string }): Promise<void> {
  if (pairs.some(({ to }) => to.length === 0)) {
    throw new RuntimeError('BKR_ERR_OPTION', '--listen', 'followed by its --to');
  }
  const door = createFrontDoor({
    listeners: pairs.map(({ listen, ...others }) => ({ ...listen, ...others })),
    logger: logger(options.logLevel, process.stdout.isTTY === true),
  });
  onShutdown(() => door.close());
  await listening(door, pairs.map(({ listen }) => placeOf(listen)).join(', '));
  door.addresses().forEach((address, index) => {
    const { to, prefixes = [], ingress } = pairs[index] as FrontPair;
    const only = [...prefixes, ...(ingress === undefined ? [] : [`by ${ingress}`])].join(' ');
    const backends = to.map((path) => `unix:${path}`).join(', ');
    process.stdout.write(`${webAddress(address)}${only === '' ? '' : ` (${only})`} -> ${backends}\n`);
  });
}

const placeOf = (listen: FrontPair['listen']): string =>
  'fd' in listen ? `fd:${listen.fd}` : `${listen.host}:${listen.port}`;

/** @param where is named if none of several addresses is known to be the wrong one. @throws `BKR_ERR_LISTEN` */
export async function listening(door: FrontDoor, where: string): Promise<void> {
  try {
    await door.listen();
  } catch (cause) {
    const { address, port } = cause as { address?: string; port?: number };
    throw new RuntimeError('BKR_ERR_LISTEN', address === undefined ? where : `${address}:${port}`, { cause });
  }
}
