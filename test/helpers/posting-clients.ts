// Clients that post many bodies of random sizes: undici, curl and one of plain sockets. Each post has a target of its own, and is
// done when the answer says the SHA-256 of what was sent. Nothing is sent a second time.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Pool } from 'undici';
import { readAnswer } from './answer-reader.js';
import { type Arrived, bodyOf, chunked, digestOf } from './body-digest.js';
import { RawClient } from './raw-client.js';

export interface PostingOrder {
  readonly client: keyof typeof CLIENTS;
  readonly host: string;
  readonly port: number;
  readonly count: number;
  /** Makes sizes and choices, and is the first part of each target: no other order may have it. */
  readonly seed: number;
}

export interface PostingResult {
  /** Answered with the right hash. */
  right: number;
  /** Of these, on a connection that had carried another request. */
  onKept: number;
  /** Of these, with a part of the body in the same segment as the head. */
  withEarlyBytes: number;
  /** What became of the others: the first few. */
  failures: string[];
}

interface Post {
  readonly target: string;
  readonly body: Buffer;
  readonly isChunked: boolean;
  readonly isLast: boolean;
  readonly isApart: boolean;
}

/** A xorshift generator: the same numbers below `below` for the same seed. */
function random(seed: number): (below: number) => number {
  let state = (seed * 2654435761 + 1) >>> 0;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

const MOST_BYTES = 300_000;
/** Mostly small ones, as bodies are. */
const SIZE_CLASSES = [100, 1000, 8000, 8000, 8000, 20_000, 70_000, MOST_BYTES];

function* posts({ seed, count }: PostingOrder): Generator<Post> {
  const next = random(seed);
  const content = bodyOf(4 * MOST_BYTES, seed);
  for (let n = 0; n < count; n++) {
    const size = next(SIZE_CLASSES[next(SIZE_CLASSES.length)] as number);
    const at = next(content.length - size);
    yield {
      target: `/${seed}/${n}`,
      body: content.subarray(at, at + size),
      isChunked: next(3) === 0,
      isLast: next(5) < 2,
      isApart: next(2) === 0,
    };
  }
}

class Tally implements PostingResult {
  right = 0;
  onKept = 0;
  withEarlyBytes = 0;
  readonly failures: string[] = [];

  count({ target, body }: Pick<Post, 'target' | 'body'>, arrived: Arrived): void {
    const { bytes, sha256 } = digestOf(body);
    if (arrived.url !== target || arrived.bytes !== bytes || arrived.sha256 !== sha256) {
      this.fail(target, `${bytes} bytes became ${JSON.stringify(arrived)}`);
      return;
    }
    this.right++;
    if (arrived.requestNumber > 1) this.onKept++;
    if (arrived.requestNumber === 1 && arrived.earlyBytes > 0) this.withEarlyBytes++;
  }

  fail(target: string, what: unknown): void {
    if (this.failures.length < 10) this.failures.push(`${target}: ${what}`);
  }
}

/** As many loops at once over the same posts. */
async function inParallel(loops: number, loop: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: loops }, loop));
}

async function postWithUndici(order: PostingOrder): Promise<PostingResult> {
  const tally = new Tally();
  const pool = new Pool(`http://${order.host}:${order.port}`, { connections: 12 });
  const all = posts(order);
  await inParallel(12, async () => {
    for (const post of all) {
      try {
        const halves = [
          post.body.subarray(0, post.body.length / 2),
          post.body.subarray(post.body.length / 2),
        ];
        const answer = await pool.request({
          path: post.target,
          method: 'POST',
          body: post.isChunked ? Readable.from(halves) : post.body,
          reset: post.isLast,
        });
        tally.count(post, (await answer.body.json()) as Arrived);
      } catch (error) {
        tally.fail(post.target, error);
      }
    }
  });
  await pool.close();
  return tally;
}

async function postWithSockets(order: PostingOrder): Promise<PostingResult> {
  const tally = new Tally();
  const all = posts(order);
  await inParallel(12, async () => {
    let kept: RawClient | undefined;
    for (const post of all) {
      const { target, body, isChunked, isLast, isApart } = post;
      const fields = [
        isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`,
        ...(isLast ? ['Connection: close'] : []),
      ];
      const head = Buffer.from(
        `POST ${target} HTTP/1.1\r\nHost: example.test\r\n${fields.join('\r\n')}\r\n\r\n`,
      );
      const coded = isChunked ? chunked(body, 5000) : body;
      try {
        const client = kept ?? (await RawClient.connect(order.port, order.host));
        kept = isLast ? undefined : client;
        if (isApart) {
          await client.send(head);
          await delay(2);
          await client.send(coded);
        } else {
          await client.send(Buffer.concat([head, coded]));
        }
        tally.count(post, JSON.parse((await readAnswer(client)).body));
        if (isLast && (await client.readToEnd()) !== '') throw new Error('more came behind the answer');
      } catch (error) {
        tally.fail(target, error);
        kept = undefined;
      }
    }
    await kept?.close();
  });
  return tally;
}

/** One process for as many posts, on the connections it keeps. */
const POSTS_PER_CURL = 60;

async function postWithCurl(order: PostingOrder): Promise<PostingResult> {
  const tally = new Tally();
  const folder = await mkdtemp(join(tmpdir(), 'fdpass-posts-'));
  const left = [...posts(order)];
  while (left.length > 0) {
    const batch = left.splice(0, POSTS_PER_CURL);
    const args: string[] = ['-sS', '--max-time', '60'];
    for (const [n, { target, body, isChunked, isLast }] of batch.entries()) {
      const file = join(folder, `${n}`);
      await writeFile(file, body);
      if (n > 0) args.push('--next');
      if (isChunked) args.push('-H', 'Transfer-Encoding: chunked');
      if (isLast) args.push('-H', 'Connection: close');
      args.push('-w', '\n', '--data-binary', `@${file}`, `http://${order.host}:${order.port}${target}`);
    }
    const { stdout } = await promisify(execFile)('curl', args).catch((error) => {
      tally.fail('curl', error);
      return { stdout: String(error.stdout ?? '') };
    });
    const answers = stdout.split('\n');
    for (const [n, post] of batch.entries()) {
      try {
        tally.count(post, JSON.parse(answers[n] ?? ''));
      } catch (error) {
        tally.fail(post.target, `${error}: ${answers[n]}`);
      }
    }
  }
  await rm(folder, { recursive: true });
  return tally;
}

const CLIENTS = { undici: postWithUndici, sockets: postWithSockets, curl: postWithCurl } as const;

/** Resolves when each post is answered or has failed. */
export function post(order: PostingOrder): Promise<PostingResult> {
  return CLIENTS[order.client](order);
}
