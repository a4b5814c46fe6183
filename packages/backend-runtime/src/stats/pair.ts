// What is counted for one source tag and one address that clients connect to.
import { CELL, CODES, KINDS, type Layout, WINDOWS_S } from './layout.js';

export class Pair {
  readonly sourceTag: string;
  readonly vip: string;
  readonly cells: Float64Array;
  readonly #layout: Layout;

  constructor(layout: Layout, sourceTag: string, vip: string) {
    this.#layout = layout;
    this.sourceTag = sourceTag;
    this.vip = vip;
    this.cells = new Float64Array(layout.length);
  }

  /** @param status 0 if there was no answer */
  countRequest(status: number, requestBytes: number, responseBytes: number): void {
    const { cells } = this;
    const code = status >= 100 && status < 600 ? Math.floor(status / 100) : 0;
    (cells[CELL.REQUESTS + code] as number)++;
    (cells[CELL.REQUEST_PAYLOAD_BYTES] as number) += requestBytes;
    (cells[CELL.RESPONSE_PAYLOAD_BYTES] as number) += responseBytes;
    this.#layout.requestBytes.record(cells, requestBytes);
    this.#layout.responseBytes.record(cells, responseBytes);
  }

  /** How long a request took from its head to the end of its answer. */
  recordDuration(seconds: number): void {
    this.#layout.duration.record(this.cells, seconds);
  }

  /** How long a connection was one of WebSocket or server-sent events. */
  recordUpgraded(seconds: number): void {
    this.#layout.upgraded.record(this.cells, seconds);
  }

  countWire(inBytes: number, outBytes: number): void {
    (this.cells[CELL.WIRE_BYTES_IN] as number) += inBytes;
    (this.cells[CELL.WIRE_BYTES_OUT] as number) += outBytes;
  }

  /** @param change 1 or -1 */
  changeConnections(kind: (typeof KINDS)[number], change: number): void {
    (this.cells[CELL.CONNECTIONS + KINDS.indexOf(kind)] as number) += change;
  }

  /** Exponentially weighted averages: called about once a second. @param elapsedSeconds since the last call */
  updateRates(elapsedSeconds: number): void {
    const { cells } = this;
    const requests = this.requests;
    const bytes =
      (cells[CELL.REQUEST_PAYLOAD_BYTES] as number) + (cells[CELL.RESPONSE_PAYLOAD_BYTES] as number);
    const requestRate = (requests - (cells[CELL.REQUESTS_BEFORE] as number)) / elapsedSeconds;
    const byteRate = (bytes - (cells[CELL.BYTES_BEFORE] as number)) / elapsedSeconds;
    cells[CELL.REQUESTS_BEFORE] = requests;
    cells[CELL.BYTES_BEFORE] = bytes;
    for (let index = 0; index < WINDOWS_S.length; index++) {
      const weight = -Math.expm1(-elapsedSeconds / (WINDOWS_S[index] as number));
      approach(cells, CELL.REQUEST_RATES + index, requestRate, weight);
      approach(cells, CELL.BYTE_RATES + index, byteRate, weight);
    }
  }

  /** Of all codes. */
  get requests(): number {
    let requests = 0;
    for (let code = 0; code < CODES.length; code++) requests += this.cells[CELL.REQUESTS + code] as number;
    return requests;
  }
}

/** Below this a rate is none: it would be halved for ever. */
const LEAST_RATE = 1e-6;

function approach(cells: Float64Array, place: number, value: number, weight: number): void {
  const before = cells[place] as number;
  const after = before + weight * (value - before);
  cells[place] = after < LEAST_RATE ? 0 : after;
}
