// `fdpass front`: the front door alone, until a signal ends it.
import { createFrontDoor } from '../front-door/index.js';
import { logger } from './logger.js';
import { onShutdown } from './shutdown.js';
import { webAddress } from './web-address.js';

export interface FrontPair {
  listen: { host: string; port: number };
  /** Tried in order. */
  to: string[];
}

/** Resolves when all addresses are bound. */
export async function front(pairs: readonly FrontPair[], options: { logLevel: string }): Promise<void> {
  const door = createFrontDoor({
    listeners: pairs.map(({ listen, to }) => ({ ...listen, to })),
    logger: logger(options.logLevel, process.stdout.isTTY === true),
  });
  await door.listen();
  onShutdown(() => door.close());
  door.addresses().forEach((address, index) => {
    process.stdout.write(`${webAddress(address)} -> ${pairs[index]?.to.join(', ')}\n`);
  });
}
