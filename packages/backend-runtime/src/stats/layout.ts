// Where each number of a pair is in its one array of numbers: a request costs additions at known places, and a pair a few hundred bytes.

/** Upper bounds, inclusive; what is above the last one has a place of its own. */
export interface Buckets {
  readonly durationSeconds: readonly number[];
  readonly requestBytes: readonly number[];
  readonly responseBytes: readonly number[];
  readonly upgradedSeconds: readonly number[];
}

export const DEFAULT_BUCKETS: Buckets = {
  durationSeconds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  requestBytes: [0, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8],
  responseBytes: [0, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8],
  upgradedSeconds: [1, 10, 60, 300, 1800, 3600, 21_600, 86_400],
};

/** By the first digit of the status; the first is for everything else. */
export const CODES = ['unknown', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;
export const KINDS = ['full', 'partial', 'relay'] as const;
/** Seconds over which rates are smoothed. */
export const WINDOWS_S = [1, 10, 60] as const;

/** One number each. */
export const CELL = {
  /** As many as {@link CODES}. */
  REQUESTS: 0,
  REQUEST_PAYLOAD_BYTES: 6,
  RESPONSE_PAYLOAD_BYTES: 7,
  WIRE_BYTES_IN: 8,
  WIRE_BYTES_OUT: 9,
  /** Open now; as many as {@link KINDS}. */
  CONNECTIONS: 10,
  /** Of requests, as many as {@link WINDOWS_S}. */
  REQUEST_RATES: 13,
  /** Of payload bytes both ways, as many as {@link WINDOWS_S}. */
  BYTE_RATES: 16,
  /** As of the latest tick of the rates. */
  REQUESTS_BEFORE: 19,
  BYTES_BEFORE: 20,
  HISTOGRAMS: 21,
} as const;

/** A histogram's place: a count for each bound, one for what is above them, and the sum of all values. */
export class HistogramPlace {
  readonly bounds: readonly number[];
  readonly #offset: number;

  constructor(bounds: readonly number[], offset: number) {
    this.bounds = bounds;
    this.#offset = offset;
  }

  /** The place behind it. */
  get end(): number {
    return this.#offset + this.bounds.length + 2;
  }

  record(cells: Float64Array, value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++;
    (cells[this.#offset + bucket] as number)++;
    (cells[this.end - 1] as number) += value;
  }

  /** @returns the counts, each bucket by itself, and the sum */
  read(cells: Float64Array): { readonly counts: readonly number[]; readonly sum: number } {
    return {
      counts: Array.from(cells.subarray(this.#offset, this.end - 1)),
      sum: cells[this.end - 1] as number,
    };
  }
}

export class Layout {
  readonly duration: HistogramPlace;
  readonly requestBytes: HistogramPlace;
  readonly responseBytes: HistogramPlace;
  readonly upgraded: HistogramPlace;
  /** Numbers of a pair. */
  readonly length: number;

  constructor({ durationSeconds, requestBytes, responseBytes, upgradedSeconds }: Buckets) {
    this.duration = new HistogramPlace(durationSeconds, CELL.HISTOGRAMS);
    this.requestBytes = new HistogramPlace(requestBytes, this.duration.end);
    this.responseBytes = new HistogramPlace(responseBytes, this.requestBytes.end);
    this.upgraded = new HistogramPlace(upgradedSeconds, this.responseBytes.end);
    this.length = this.upgraded.end;
  }
}
