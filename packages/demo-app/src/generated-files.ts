// Files of deterministic content, one per size, in a private temporary folder. Owns the folder, when a file is made and when it
// goes. Content: the AES-128-CTR keystream of a zero key, so a shorter file is the beginning of every longer one.
import { createCipheriv, createHash } from 'node:crypto';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Hashed and encrypted in one go: well under a millisecond, so other requests are served between two of them. */
const CHUNK_BYTES = 256 * 1024;
/** What stays free on the disk. */
const DISK_RESERVE_BYTES = 256 * 1024 * 1024;

/** Bounds of the cache on disk. */
export interface GeneratedFilesOptions {
  /** Files kept; beyond it the least recently used one that nobody is being sent goes. @default 4 */
  maxFiles?: number;
  /** Bytes on disk at any moment; a request that would need more is answered 503. @default 12000000000 */
  maxBytes?: number;
}

export interface GeneratedFile {
  readonly path: string;
  /** Of the whole content, in lower-case hex. */
  readonly sha256: string;
}

interface Entry {
  readonly bytes: number;
  readonly file: Promise<GeneratedFile>;
  /** Aborted when nobody waits for the file any more. */
  readonly abandon: AbortController;
  /** Requests that wait for the file or are sent it. */
  users: number;
  made: boolean;
}

const fault = (statusCode: number, message: string): Error =>
  Object.assign(new Error(message), { statusCode });

function* keystream(bytes: number, each: (chunk: Buffer) => void): Generator<Buffer> {
  const zeros = Buffer.alloc(Math.min(CHUNK_BYTES, bytes));
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    const chunk = cipher.update(zeros.subarray(0, Math.min(CHUNK_BYTES, left)));
    each(chunk);
    yield chunk;
  }
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

export class GeneratedFiles {
  readonly #maxFiles: number;
  readonly #maxBytes: number;
  /** By size; the least recently used first. */
  readonly #entries = new Map<number, Entry>();
  #folder: string | undefined;
  #filesMade = 0;
  /** The last generation begun: they run one after the other, each would slow down the rest. */
  #generation: Promise<unknown> = Promise.resolve();

  constructor(options: GeneratedFilesOptions = {}) {
    this.#maxFiles = options.maxFiles ?? 4;
    this.#maxBytes = options.maxBytes ?? 12_000_000_000;
  }

  /**
   * Runs `work` with the file of `bytes` bytes, which is made first if it is not there; it stays until `work` is done.
   * `signal` ends the waiting for it, not `work`.
   * @throws an error with `statusCode` 503 (too much in use) or 507 (disk full); the signal's reason.
   */
  async use<T>(bytes: number, signal: AbortSignal, work: (file: GeneratedFile) => Promise<T>): Promise<T> {
    const entry = this.#entries.get(bytes) ?? this.#create(bytes);
    this.#entries.delete(bytes);
    this.#entries.set(bytes, entry);
    entry.users += 1;
    try {
      return await work(await unlessAborted(entry.file, signal));
    } finally {
      entry.users -= 1;
      if (entry.users === 0 && !entry.made) {
        entry.abandon.abort();
        this.#forget(entry);
      }
      this.#evict(0);
    }
  }

  /** Gives up what is being made and removes the folder. Nothing may be in use any more. */
  async close(): Promise<void> {
    for (const entry of this.#entries.values()) entry.abandon.abort();
    this.#entries.clear();
    await this.#generation;
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
  }

  #create(bytes: number): Entry {
    this.#evict(bytes);
    if (this.#bytesOnDisk() + bytes > this.#maxBytes) {
      throw fault(
        503,
        `Downloads under way need more than ${this.#maxBytes} bytes of disk: try again later.`,
      );
    }
    const abandon = new AbortController();
    const file = this.#generation.then(() => this.#generate(bytes, abandon.signal));
    const entry: Entry = { bytes, file, abandon, users: 0, made: false };
    this.#generation = file.then(
      () => {
        entry.made = true;
      },
      () => this.#forget(entry),
    );
    return entry;
  }

  async #generate(bytes: number, signal: AbortSignal): Promise<GeneratedFile> {
    signal.throwIfAborted();
    this.#folder ??= await mkdtemp(join(tmpdir(), 'fdpass-demo-'));
    const folder = this.#folder;
    const disk = await statfs(folder);
    if (disk.bavail * disk.bsize < bytes + DISK_RESERVE_BYTES) {
      throw fault(507, `Too little room on the disk for a file of ${bytes} bytes.`);
    }
    const hash = createHash('sha256');
    // Its own name each time: an abandoned file of the same size may still be on its way out.
    this.#filesMade += 1;
    const path = join(folder, `${bytes}-${this.#filesMade}.bin`);
    try {
      const content = keystream(bytes, (chunk) => hash.update(chunk));
      await writeFile(path, content, { flag: 'wx', mode: 0o600, signal });
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    return { path, sha256: hash.digest('hex') };
  }

  #bytesOnDisk(): number {
    let sum = 0;
    for (const { bytes } of this.#entries.values()) sum += bytes;
    return sum;
  }

  /** Removes idle files, the least recently used first, until the bounds hold with `moreBytes` more. */
  #evict(moreBytes: number): void {
    const moreFiles = moreBytes > 0 ? 1 : 0;
    for (const entry of this.#entries.values()) {
      const fits =
        this.#entries.size + moreFiles <= this.#maxFiles && this.#bytesOnDisk() + moreBytes <= this.#maxBytes;
      if (fits) return;
      if (entry.users > 0 || !entry.made) continue;
      this.#forget(entry);
      // A failure costs disk only until close() removes the folder.
      entry.file.then(({ path }) => rm(path, { force: true })).catch(() => {});
    }
  }

  #forget(entry: Entry): void {
    if (this.#entries.get(entry.bytes) === entry) this.#entries.delete(entry.bytes);
  }
}
