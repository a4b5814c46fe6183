// When the front door may accept: not with a full house, and not while descriptors are short. In the backlog nothing is lost.
import { native } from '../native.js';
import type { TcpListener } from './listener.js';

/** Descriptors kept free for the connections to the backends; less where the limit is low. */
const RESERVED_DESCRIPTORS = 64;
const SHORTAGE_PAUSE_MS = 100;

/** Opens and shuts all listeners of one front door together. */
export class AcceptGate {
  #listeners: readonly TcpListener[] = [];
  /** The first descriptor number that is reserved: the kernel gives out the lowest free one. */
  readonly #reservedFrom: number;
  #full = false;
  #shortage: NodeJS.Timeout | undefined;
  #closed = false;

  constructor() {
    const { soft } = native().descriptorLimits();
    this.#reservedFrom = soft - Math.min(RESERVED_DESCRIPTORS, Math.floor(soft / 8));
  }

  /** These from now on; what others do is not its business any more. */
  open(listeners: readonly TcpListener[]): void {
    this.#listeners = listeners;
    this.#update();
  }

  /** No more clients until `onRoom()`. @returns whether that is new */
  onFull(): boolean {
    if (this.#full || this.#closed) return false;
    this.#full = true;
    this.#update();
    return true;
  }

  onRoom(): void {
    if (!this.#full) return;
    this.#full = false;
    this.#update();
  }

  /** True if `fd`, just accepted, is one of the reserved ones. */
  isReserved(fd: number): boolean {
    return fd >= this.#reservedFrom;
  }

  /** No more clients until there are descriptors again. @returns whether that is new */
  onShortage(): boolean {
    if (this.#shortage !== undefined || this.#closed) return false;
    this.#shortage = setTimeout(() => this.#retry(), SHORTAGE_PAUSE_MS);
    this.#update();
    return true;
  }

  /** The listeners are not touched any more. Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#shortage);
  }

  #retry(): void {
    if (this.#descriptorsAreShort()) {
      this.#shortage?.refresh();
      return;
    }
    this.#shortage = undefined;
    this.#update();
  }

  #descriptorsAreShort(): boolean {
    try {
      const lowestFree = this.#listeners[0]?.lowestFreeDescriptor() ?? 0;
      return this.isReserved(lowestFree);
    } catch {
      return true;
    }
  }

  #update(): void {
    if (this.#closed) return;
    const accepting = !this.#full && this.#shortage === undefined;
    for (const listener of this.#listeners) {
      if (accepting) listener.start();
      else listener.pause();
    }
  }
}
