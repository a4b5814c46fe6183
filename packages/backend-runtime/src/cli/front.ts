// `fdpass front`: the front door alone, until a signal ends it.
import { RuntimeError } from '../errors.js';
import { createFrontDoor, type FrontDoor } from '../front-door/index.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';
import { webAddress } from './web-address.js';

export interface FrontPair {
  listen: { host: string; port: number };
  /** Absolute paths; tried in order. */
  to: string[];
}

/** Resolves when all addresses are bound. @throws `BKR_ERR_LISTEN`, `BKR_ERR_OPTION` */
export async function front(pairs: readonly FrontPair[], options: { logLevel: string }): Promise<void> {
  if (pairs.some(({ to }) => to.length === 0)) {
    throw new RuntimeError('BKR_ERR_OPTION', '--listen', 'followed by its --to');
  }
  const door = createFrontDoor({
    listeners: pairs.map(({ listen, to }) => ({ ...listen, to })),
    logger: logger(options.logLevel, process.stdout.isTTY === true),
  });
  onShutdown(() => door.close());
  await listening(door, pairs.map(({ listen }) => `${listen.host}:${listen.port}`).join(', '));
  door.addresses().forEach((address, index) => {
    const backends = pairs[index]?.to.map((path) => `unix:${path}`) ?? [];
    process.stdout.write(`${webAddress(address)} -> ${backends.join(', ')}\n`);
  });
}

/** @param where is named if none of several addresses is known to be the wrong one. @throws `BKR_ERR_LISTEN` */
export async function listening(door: FrontDoor, where: string): Promise<void> {
  try {
    await door.listen();
  } catch (cause) {
    const { address, port } = cause as { address?: string; port?: number };
    throw new RuntimeError('BKR_ERR_LISTEN', address === undefined ? where : `${address}:${port}`, { cause });
  }
}
