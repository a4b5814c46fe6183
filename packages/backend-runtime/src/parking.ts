// Connections that wait for their next request without a socket: one native wait for all of them, opened with the first and closed
// when the server stops.
import { native, PARKING, PARKING_EVENT, type ParkingLot } from './native.js';
import { throwLater } from './throw-later.js';

/** A connection that may wait here. */
export interface Parkable {
  /** What the client has sent; shared memory of all that were read with it. It stays, without a deadline. */
  onBytes(bytes: Buffer): void;
  /** The client is gone, or has said its last. It waits no longer. */
  onEnded(): void;
  /** The time is up. It waits no longer. */
  onExpired(): void;
  /** What comes next is there, and not read yet. */
  readonly hasNextRequest: boolean;
  /** @returns false if it is not idle */
  closeIfIdle(): boolean;
  destroy(): void;
}

export class Parking {
  /** By descriptor, which are small numbers. Not a Map: see roster.ts. */
  readonly #parked: (Parkable | undefined)[] = [];
  #lot: ParkingLot | undefined;
  /** What the lot is telling, and how much of it was told. */
  #bytes: Buffer | undefined;
  #records: Int32Array = NOTHING;
  #told = 0;

  /**
   * @param fd borrowed; `unpark()` it before it is closed
   * @param timeoutMs from now on, 0: for ever; of one that waits already it is set anew
   */
  park(fd: number, timeoutMs: number, connection: Parkable): void {
    this.#lot ??= new (native().ParkingLot)((bytes, records) => this.#onEvents(bytes, records));
    this.#lot.park(fd, timeoutMs);
    this.#parked[fd] = connection;
  }

  /** Those that wait now. */
  connections(): Parkable[] {
    return this.#parked.filter((each) => each !== undefined);
  }

  /**
   * Harmless for one that does not wait.
   * @returns what its client has sent and it was not told, as another one of the same batch came first
   */
  unpark(fd: number): Buffer | undefined {
    if (this.#parked[fd] === undefined) return undefined;
    this.#parked[fd] = undefined;
    this.#lot?.unpark(fd);
    for (let at = this.#told; at < this.#records.length; at += PARKING.STRIDE) {
      if (this.#records[at + PARKING.FD] === fd) return this.#bytesOf(at);
    }
    return undefined;
  }

  /** Lets go of everything: of none of it is heard any more. */
  close(): void {
    this.#parked.length = 0;
    this.#lot?.close();
    this.#lot = undefined;
  }

  #onEvents(bytes: Buffer, records: Int32Array): void {
    this.#bytes = bytes;
    this.#records = records;
    for (let at = 0; at < records.length; at += PARKING.STRIDE) {
      this.#told = at + PARKING.STRIDE;
      const fd = records[at + PARKING.FD] as number;
      const event = records[at + PARKING.EVENT] as number;
      const connection = this.#parked[fd];
      // Unparked by one before it in the same batch.
      if (connection === undefined) continue;
      if (event !== PARKING_EVENT.READ) this.#parked[fd] = undefined;
      try {
        if (event === PARKING_EVENT.READ) connection.onBytes(this.#bytesOf(at) as Buffer);
        else if (event === PARKING_EVENT.ENDED) connection.onEnded();
        else connection.onExpired();
      } catch (error) {
        // A listener's mistake costs the others nothing.
        throwLater(error);
      }
    }
    this.#bytes = undefined;
    this.#records = NOTHING;
  }

  /** Of a record of the batch under way; undefined if it tells something else. */
  #bytesOf(at: number): Buffer | undefined {
    if (this.#records[at + PARKING.EVENT] !== PARKING_EVENT.READ) return undefined;
    const offset = this.#records[at + PARKING.OFFSET] as number;
    return this.#bytes?.subarray(offset, offset + (this.#records[at + PARKING.LENGTH] as number));
  }
}

const NOTHING = new Int32Array(0);
