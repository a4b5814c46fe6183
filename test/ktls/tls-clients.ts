// The clients: curl, `openssl s_client`, Python's ssl and Node.js's, each told which TLS to speak. None of them uses the kernel for
// its own side: what is counted is the server's.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

const run = promisify(execFile);
/** They are not compiled: from build/test/ktls/ to test/ktls/. */
const PYTHON_CLIENT = fileURLToPath(new URL('../../../test/ktls/tls_client.py', import.meta.url));
const ONE_WAY_SENDER = fileURLToPath(new URL('../../../test/ktls/one_way_sender.py', import.meta.url));
const RECORD_CLIENT = fileURLToPath(new URL('../../../test/ktls/record_client.py', import.meta.url));

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** @returns what curl printed */
export async function curl(
  port: number,
  version: TlsVersion,
  path: string,
  ...args: string[]
): Promise<string> {
  const speak = version === 'TLSv1.2' ? ['--tls-max', '1.2'] : ['--tlsv1.3'];
  const url = `https://127.0.0.1:${port}${path}`;
  const { stdout } = await run('curl', ['-sSk', '-m', '100', ...speak, ...args, url], {
    encoding: 'latin1',
    maxBuffer: 2 ** 28,
  });
  return stdout;
}

/** A request by `openssl s_client`; it ends when the server does. */
export async function sClient(port: number, version: TlsVersion, request: string): Promise<string> {
  const flag = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3';
  const child = spawn('openssl', ['s_client', '-quiet', '-ign_eof', flag, '-connect', `127.0.0.1:${port}`], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.write(request);
  const output = await buffer(child.stdout);
  return output.toString('latin1');
}

export interface InteractiveClient {
  /** A line of one letter is a command of s_client's: `k`, `K`, `R`, `Q`. */
  send(lines: string): void;
  /** Resolves when that was printed since the last `send()`. */
  says(text: string): Promise<void>;
  /** What it printed since the last `send()`, its messages of TLS among it. */
  output(): string;
  /** Resolves when it has ended. */
  readonly exited: Promise<unknown>;
}

/** An `openssl s_client` that does what it is told, line by line; it ends with the test. */
export function interactiveClient(t: ExecutionContext, port: number, version: TlsVersion): InteractiveClient {
  const flag = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3';
  const args = ['s_client', '-crlf', '-msg', flag, '-connect', `127.0.0.1:${port}`];
  const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  // It may end before all that it was told is written.
  child.stdin.on('error', () => {});
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('latin1').on('data', (text: string) => {
      output += text;
    });
  }
  return {
    exited,
    send: (lines) => {
      output = '';
      child.stdin.write(lines);
    },
    says: (text) => until(`s_client says ${text}`, () => output.includes(text)),
    output: () => output,
  };
}

export type Step =
  /** First, if at all: the end of the handshake is not sent by itself. Only in TLS 1.3 it is the client's. */
  | readonly ['with_handshake']
  /** First, if at all: the same with the session of a connection before. */
  | readonly ['resume']
  | readonly ['write', string]
  | readonly ['write_times', string, number]
  | readonly ['send']
  | readonly ['send_but', number]
  | readonly ['send_plain', string]
  | readonly ['send_damaged']
  | readonly ['read_damaged']
  | readonly ['await_fin']
  | readonly ['await_ticket']
  | readonly ['read_until', string, number?]
  | readonly ['read_to_end']
  | readonly ['close_notify']
  | readonly ['fin']
  | readonly ['close']
  | readonly ['reset']
  | readonly ['wait', number]
  /** Until `goOn()`. */
  | readonly ['await_word'];

export interface PythonResult {
  readonly received: string;
  readonly ended: 'close_notify' | 'end without close_notify' | 'reset' | null;
  readonly cipher: string;
}

/** Neither the user's packages nor the installed ones: looking for them takes a guest longer than a request. */
const ISOLATED = ['-I', '-S'];

let interpreter: string | undefined;
/** Python itself: `python3` may be a script that looks for one, which takes a guest longer than most of a test. */
function pythonProgram(): string {
  interpreter ??= execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], {
    encoding: 'utf8',
  }).trim();
  return interpreter;
}

/** Does `steps` with Python's ssl: each `write` begins a record of its own, `send` sends all that was written at once. */
export const python = (port: number, version: TlsVersion, steps: readonly Step[]): Promise<PythonResult> =>
  startPython(port, version, steps).result;

export interface PythonClient {
  readonly result: Promise<PythonResult>;
  /** Ends an `await_word`, also one that it has not come to yet. */
  goOn(): void;
}

/** The same for a test that tells it when to go on. */
export function startPython(port: number, version: TlsVersion, steps: readonly Step[]): PythonClient {
  const args = [...ISOLATED, PYTHON_CLIENT, String(port), version, JSON.stringify(steps)];
  const running = run(pythonProgram(), args, { maxBuffer: 2 ** 28, timeout: 100_000 });
  return {
    result: running.then(({ stdout }) => {
      const { received, ...rest } = JSON.parse(stdout);
      return { ...rest, received: Buffer.from(received, 'base64').toString('latin1') };
    }),
    goOn: () => running.child.stdin?.write('\n'),
  };
}

/** Type (RFC 8446, appendix B.1) and content in hexadecimal. */
export type TlsRecord = readonly [type: number, content: string];

/** Asks once and sends `records` when it is answered. Its kernel encrypts, too: it counts as one session more, in TLS 1.2 both ways. */
export async function sendRecords(
  port: number,
  version: TlsVersion,
  records: readonly TlsRecord[],
): Promise<Omit<PythonResult, 'cipher'>> {
  const args = [...ISOLATED, RECORD_CLIENT, String(port), version, JSON.stringify(records)];
  const { stdout } = await run(pythonProgram(), args, { timeout: 100_000 });
  return JSON.parse(stdout);
}

/** Hands a client over for whom the kernel decrypts, and does not encrypt. */
export async function handOverOneWay(path: string): Promise<{ readonly received: number }> {
  const { stdout } = await run(pythonProgram(), [ONE_WAY_SENDER, path], { timeout: 100_000 });
  return JSON.parse(stdout);
}

/** A client for many exchanges; it is closed with the test. */
export async function openClient(t: ExecutionContext, port: number, version: TlsVersion): Promise<RawClient> {
  const tcp = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  const socket = connectTls({
    socket: tcp,
    servername: 'example.test',
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
  });
  const client = RawClient.of(socket);
  await once(socket, 'secureConnect');
  t.teardown(() => client.close());
  return client;
}

/** Options for ws and https clients. */
export const clientOptions = (version: TlsVersion) => ({
  rejectUnauthorized: false,
  minVersion: version,
  maxVersion: version,
});
