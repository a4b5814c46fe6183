// Bytes that a server allocates for one request on a connection of its own, handed over by the front door in this process. One
// request after the other, so that each run does the same.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGateway } from '@fdpass/backend-runtime/testing';
import { end, startModule } from '../processes.js';
import type { Answer, Question } from './answering-process.js';

export interface Allocations {
  /** Bytes of V8's heap for each request. */
  readonly heap: number;
  /** Bytes of buffers for each request. */
  readonly external: number;
}

const MODULE = new URL('./answering-process.js', import.meta.url);
const WARM_UP_REQUESTS = 500;
const REQUESTS = 1000;
/** Megabytes: no garbage is collected before the end. */
const YOUNG_GENERATION = 256;
/**
 * Without optimization: when a function is optimized, and which allocations that saves, is not the same at every run.
 */
const NODE_OPTIONS = [
  '--expose-gc',
  '--no-opt',
  `--min-semi-space-size=${YOUNG_GENERATION}`,
  `--max-semi-space-size=${YOUNG_GENERATION}`,
];
const REQUEST = [
  'GET /hello HTTP/1.1',
  'Host: bench.example',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'Accept-Language: en-US,en;q=0.5',
  'Cookie: session=0123456789abcdef',
  'Connection: close',
  '',
  '',
].join('\r\n');

/** @throws if garbage was collected in the middle, or an answer is not 200 */
export async function allocationsOf(kind: 'lean' | 'ordinary'): Promise<Allocations> {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-guard-'));
  const path = join(folder, 'server.sock');
  const child = startModule(MODULE, [path, kind], NODE_OPTIONS);
  try {
    await answer(child);
    const gateway = await openGateway(path, { kind: 'full' });
    let counted: Answer;
    try {
      await ask(gateway.port, WARM_UP_REQUESTS);
      await answer(child, 'begin');
      await ask(gateway.port, REQUESTS);
      counted = await answer(child, 'end');
    } finally {
      await gateway.close();
    }
    if (counted === 'ready' || counted.collections > 0)
      throw new Error('garbage was collected in the middle: the young generation is too small');
    return { heap: counted.heap / REQUESTS, external: counted.external / REQUESTS };
  } finally {
    await end(child);
    rmSync(folder, { recursive: true });
  }
}

/** Asks the process if there is something to ask, and resolves with what it says. @throws when it ends first */
async function answer(child: ChildProcess, question?: Question): Promise<Answer> {
  if (question !== undefined) child.send(question);
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('the server of the guard ended')));
  const [said] = await Promise.race([once(child, 'message'), ended]);
  return said as Answer;
}

async function ask(port: number, times: number): Promise<void> {
  for (let number = 0; number < times; number++) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1');
    socket.write(REQUEST);
    let text = '';
    for await (const part of socket) text += part;
    if (!text.startsWith('HTTP/1.1 200 ')) throw new Error(`unexpected answer: ${text}`);
  }
}
