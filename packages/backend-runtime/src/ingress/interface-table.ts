// The source tag and the name of each interface by its number, as interfaces come, go and change their numbers. What is done with the
// tags is the middleware's business.
import { type NetworkInterface, native } from '../native.js';
import { type Logger, processWarnings } from '../options.js';
import { type AddressFamily, type DeviceTags, type InterfaceRule, resolveRules } from './interface-rules.js';
import { LinkEvents } from './link-events.js';

export type { AddressFamily, InterfaceRule } from './interface-rules.js';

export interface InterfaceTableOptions {
  /** Milliseconds after which the interfaces are read again even if the kernel told of no change; 0 for never. */
  rescanIntervalMs: number;
  /** Told when the interfaces cannot be followed or read. @default process warnings */
  logger?: Logger | undefined;
  /** Called when an interface may have come, gone or changed, while they are followed. */
  onChange?: (() => void) | undefined;
}

/** Reads the interfaces when it is asked after something may have changed, not before. */
export class InterfaceTable {
  readonly #tagsByDevice: ReadonlyMap<string, DeviceTags>;
  readonly #rescanIntervalMs: number;
  readonly #logger: Logger;
  readonly #onChange: (() => void) | undefined;
  readonly #readInterfaces: () => readonly NetworkInterface[];
  /** By ifindex. Undefined: it was looked for in vain. */
  #names = new Map<number, string | undefined>();
  #tags: Readonly<Record<AddressFamily, Map<number, string>>> = { ipv4: new Map(), ipv6: new Map() };
  #mayHaveChanged = true;
  #couldRead = true;
  #isFollowing = false;
  #linkEvents: LinkEvents | undefined;
  #rescanTimer: NodeJS.Timeout | undefined;

  /**
   * @param readInterfaces what interfaces there are now
   * @throws `BKR_ERR_OPTION` with the place, as `interfaces[2].tag`
   */
  constructor(
    rules: readonly InterfaceRule[],
    { rescanIntervalMs, logger = processWarnings, onChange }: InterfaceTableOptions,
    readInterfaces: () => readonly NetworkInterface[] = () => native().interfaces(),
  ) {
    this.#tagsByDevice = resolveRules(rules);
    this.#rescanIntervalMs = rescanIntervalMs;
    this.#logger = logger;
    this.#onChange = onChange;
    this.#readInterfaces = readInterfaces;
  }

  /** Follows the interfaces from now on; that keeps no process alive. Idempotent. */
  start(): void {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    const onChange = (): void => {
      this.#mayHaveChanged = true;
      this.#onChange?.();
    };
    try {
      this.#linkEvents = new LinkEvents(onChange, (error) => this.#warnOfSilence(error));
    } catch (error) {
      this.#warnOfSilence(error);
    }
    if (this.#rescanIntervalMs > 0) this.#rescanTimer = setInterval(onChange, this.#rescanIntervalMs).unref();
    // Nobody told of what changed before.
    this.#mayHaveChanged = true;
  }

  /** Follows them no longer. Idempotent. */
  stop(): void {
    this.#isFollowing = false;
    this.#linkEvents?.close();
    this.#linkEvents = undefined;
    clearInterval(this.#rescanTimer);
  }

  /** The source tag of what comes in by an interface; undefined if no rule names it. */
  tagOf(ifindex: number, family: AddressFamily): string | undefined {
    this.#know(ifindex);
    return this.#tags[family].get(ifindex);
  }

  /** Undefined if there is no interface of that number (any more). */
  nameOf(ifindex: number): string | undefined {
    this.#know(ifindex);
    return this.#names.get(ifindex);
  }

  /** Undefined if there is no interface of that name (now). */
  indexOf(name: string): number | undefined {
    if (this.#mayHaveChanged) this.#read();
    for (const [index, each] of this.#names) if (each === name) return index;
    return undefined;
  }

  /** A client may be faster than the news of the interface it came in by: a new number is looked for at once, and once only. */
  #know(ifindex: number): void {
    if (!this.#mayHaveChanged && this.#names.has(ifindex)) return;
    if (this.#read() && !this.#names.has(ifindex)) this.#names.set(ifindex, undefined);
  }

  /** @returns false, and all stays as it was, if it cannot be done now */
  #read(): boolean {
    let interfaces: readonly NetworkInterface[];
    try {
      interfaces = this.#readInterfaces();
    } catch (err) {
      if (this.#couldRead) this.#logger.error({ err }, 'The network interfaces cannot be read');
      this.#couldRead = false;
      return false;
    }
    this.#couldRead = true;
    this.#mayHaveChanged = false;
    this.#names = new Map(interfaces.map(({ index, name }) => [index, name]));
    this.#tags = { ipv4: this.#tagsOf('ipv4', interfaces), ipv6: this.#tagsOf('ipv6', interfaces) };
    return true;
  }

  #tagsOf(family: AddressFamily, interfaces: readonly NetworkInterface[]): Map<number, string> {
    const tags = new Map<number, string>();
    for (const { index, name } of interfaces) {
      const tag = this.#tagsByDevice.get(name)?.[family];
      if (tag !== undefined) tags.set(index, tag);
    }
    return tags;
  }

  #warnOfSilence(err: unknown): void {
    const ms = this.#rescanIntervalMs;
    this.#logger.warn(
      { err },
      'The kernel does not tell of changes of the network interfaces. They are read when a client comes in by a new one' +
        (ms > 0 ? ` and every ${ms} ms (rescanIntervalMs)` : ''),
    );
  }
}
