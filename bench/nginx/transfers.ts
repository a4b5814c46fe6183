// The clients of large bodies: one download or one upload over a connection of its own. They take and give as much as the kernel
// has room for, and allocate nothing for it: they share the machine with what they measure.
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';

const PIECE_BYTES = 2 ** 20;
const TIMEOUT_MS = 60_000;
/** Of an answer: its head, and the whole of a short one. */
const KEPT_BYTES = 2048;
const HEAD_END = '\r\n\r\n';

/** @returns seconds until the whole answer was there. @throws when it is not 200, or not whole */
export async function download(port: number, path: string): Promise<number> {
  const { seconds } = await exchange(port, (socket) => {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n`);
  });
  return seconds;
}

/** What is uploaded: always the same bytes. */
export interface UploadBody {
  readonly bytes: number;
  /** In hexadecimal. */
  readonly sha256: string;
}

const piece = Buffer.alloc(PIECE_BYTES, 'fdpass');

export function uploadBody(bytes: number): UploadBody {
  const hash = createHash('sha256');
  for (const part of pieces(bytes)) hash.update(part);
  return { bytes, sha256: hash.digest('hex') };
}

function* pieces(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= PIECE_BYTES) yield piece.subarray(0, Math.min(left, PIECE_BYTES));
}

/** @returns seconds until the answer was there. @throws when it is not 200, or names another hash */
export async function upload(port: number, path: string, { bytes, sha256 }: UploadBody): Promise<number> {
  const { seconds, answer } = await exchange(port, (socket) => {
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`,
    );
    const rest = pieces(bytes);
    const write = (): void => {
      for (let next = rest.next(); !next.done; next = rest.next()) {
        if (!socket.write(next.value)) return void socket.once('drain', write);
      }
    };
    write();
  });
  if (!answer.includes(sha256)) throw new Error(`what arrived is not what was uploaded: ${answer}`);
  return seconds;
}

interface Exchange {
  /** From connecting to the last byte of the answer. */
  readonly seconds: number;
  /** Its beginning. */
  readonly answer: string;
}

/** Sends by `send`, reads one answer, and leaves it to the server to close. */
function exchange(port: number, send: (socket: Socket) => void): Promise<Exchange> {
  return new Promise((resolve, reject) => {
    let beginning = '';
    let expected: number | undefined;
    let received = 0;
    let seconds = 0;
    const startMs = performance.now();
    const take = (bytes: number, buffer: Uint8Array): boolean => {
      received += bytes;
      if (beginning.length < KEPT_BYTES)
        beginning += Buffer.from(buffer.subarray(0, bytes)).toString('latin1', 0, KEPT_BYTES);
      expected ??= answerBytes(beginning);
      if (received === expected) seconds = (performance.now() - startMs) / 1000;
      else if (expected !== undefined && received > expected) socket.destroy();
      return true;
    };
    const onread = { buffer: Buffer.allocUnsafeSlow(PIECE_BYTES), callback: take };
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread }, () => send(socket));
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`nothing happened for ${TIMEOUT_MS} ms`)));
    socket.on('error', reject);
    socket.on('close', () => {
      if (received === expected) resolve({ seconds, answer: beginning });
      else reject(new Error(`no whole answer with 200, but ${received} bytes: ${beginning}`));
    });
  });
}

/** @returns length of head and body, undefined while the head is not whole, -1 if it is not 200 with a length */
function answerBytes(beginning: string): number | undefined {
  const headEnd = beginning.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const [, length] = /^content-length: *(\d+)\r$/im.exec(beginning.slice(0, headEnd + 2)) ?? [];
  if (!beginning.startsWith('HTTP/1.1 200 ') || length === undefined) return -1;
  return headEnd + HEAD_END.length + Number(length);
}
