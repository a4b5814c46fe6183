// The clients: curl, `openssl s_client`, Python's ssl and Node.js's, each told which TLS to speak. None of them uses the kernel for
// its own side: what is counted is the server's.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { RawClient } from '../helpers/raw-client.js';

const run = promisify(execFile);
const PYTHON_CLIENT = fileURLToPath(new URL('../../../test/ktls/tls_client.py', import.meta.url));

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

export type Step =
  /** First, if at all: the end of the handshake is not sent by itself. A connection before it, in TLS 1.2. */
  | readonly ['with_handshake']
  | readonly ['write', string]
  | readonly ['write_times', string, number]
  | readonly ['send']
  | readonly ['send_but', number]
  | readonly ['await_ticket']
  | readonly ['read_until', string, number?]
  | readonly ['read_to_end']
  | readonly ['close_notify']
  | readonly ['fin']
  | readonly ['close']
  | readonly ['reset']
  | readonly ['wait', number];

export interface PythonResult {
  readonly received: string;
  readonly ended: 'close_notify' | 'end without close_notify' | 'reset' | null;
  readonly cipher: string;
}

/** Does `steps` with Python's ssl: each `write` begins a record of its own, `send` sends all that was written at once. */
export async function python(
  port: number,
  version: TlsVersion,
  steps: readonly Step[],
): Promise<PythonResult> {
  const { stdout } = await run('python3', [PYTHON_CLIENT, String(port), version, JSON.stringify(steps)], {
    maxBuffer: 2 ** 28,
    timeout: 100_000,
  });
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
