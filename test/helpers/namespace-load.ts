// wrk as a load in a network namespace, for as long as a test wants it, with every answer counted by what it says.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { NEW_CONNECTION_EACH } from '../../bench/wrk.js';
import type { NetworkNamespace } from './network-namespace.js';

const SCRIPT = fileURLToPath(new URL('../../../test/helpers/count_answers.lua', import.meta.url));
/** Longer than any test waits. */
const MAX_SECONDS = 60;

export interface AnswerCounts {
  /** By kind, of the connections and of answers that are neither 2xx nor 3xx. */
  readonly errors: Readonly<Record<'connect' | 'read' | 'write' | 'status' | 'timeout', number>>;
  /** By the body, which must be one word, or by the status if that is not 200. */
  readonly answers: Readonly<Record<string, number>>;
}

export interface LoadOptions {
  /** Clients at a time; so many requests may be answered when wrk does not listen any more. */
  connections: number;
  /** Whether connections are kept, or each request has a new one. @default false */
  isKept?: boolean;
}

/** What a load without any error has. */
export const NO_ERRORS: AnswerCounts['errors'] = { connect: 0, read: 0, write: 0, status: 0, timeout: 0 };

export class NamespaceLoad {
  readonly #wrk: ChildProcess;
  readonly #report: Promise<string>;

  /** It begins at once, and is over with the test at the latest. */
  constructor(
    t: ExecutionContext,
    namespace: NetworkNamespace,
    url: string,
    { connections, isKept = false }: LoadOptions,
  ) {
    const [program = '', ...args] = namespace.command;
    const load = ['-t1', `-c${connections}`, `-d${MAX_SECONDS}s`, '--timeout', '20s', '-s', SCRIPT];
    const each = isKept ? [] : NEW_CONNECTION_EACH;
    const wrk = spawn(program, [...args, 'wrk', ...load, ...each, url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#wrk = wrk;
    this.#report = text(wrk.stdout);
    const ended = once(wrk, 'close');
    t.teardown(async () => {
      wrk.kill('SIGKILL');
      await ended;
    });
  }

  /** wrk waits for no answer any more. Resolves with those that came. */
  async stop(): Promise<AnswerCounts> {
    this.#wrk.kill('SIGINT');
    return JSON.parse((await this.#report).trimEnd().split('\n').at(-1) ?? '');
  }
}
