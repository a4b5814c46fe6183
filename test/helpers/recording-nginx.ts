// nginx with our module, before a recorder in a backend's place: it keeps each message byte by byte, answers as it is told to, and never
// takes a client itself (what it does not ask for, the kernel drops).
import { deepStrictEqual } from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type Descriptors, descriptorChanges, openDescriptors } from './descriptors.js';
import { LOAD_MODULE, type Nginx, type NginxOptions, nginxFolder, ownAddress, startNginx } from './nginx.js';
import { until } from './until.js';

/** One message as latin1: names and values in the order they came in, and what stood behind the netstring. */
export interface Recorded {
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly earlyBytes: string;
}

/** Of each header of that name, in order. */
export function valuesOf({ headers }: Recorded, name: string): string[] {
  return headers.filter(([each]) => each === name).map(([, value]) => value);
}

/** As {@link Recorder} answers: taken, after which nobody has the client, and it sees its end; refused; or not until it is told to. */
export type Answer = 'taken' | 'refused' | 'later';

const ANSWERS = { taken: 0x06, refused: 0x15 } as const;

/** @returns undefined while it is not whole @throws if it is no message */
export function parseMessage(bytes: string): Recorded | undefined {
  const [prefix = '', digits] = /^(0|[1-9]\d*):/.exec(bytes) ?? [];
  if (digits === undefined) {
    if (/^\d{0,8}$/.test(bytes)) return undefined;
    throw new Error(`no netstring: ${JSON.stringify(bytes.slice(0, 80))}`);
  }
  const end = prefix.length + Number(digits);
  if (bytes.length <= end) return undefined;
  const parts = bytes.slice(prefix.length, end).split('\0');
  if (bytes[end] !== ',' || parts.pop() !== '' || parts.length % 2 !== 0)
    throw new Error('a broken netstring');
  const headers: [string, string][] = [];
  for (let at = 0; at < parts.length; at += 2) headers.push([parts[at] as string, parts[at + 1] as string]);
  const earlyBytes = bytes.slice(end + 1);
  const [first, length] = headers[0] ?? [];
  if (first !== 'CONTENT_LENGTH') throw new Error(`${first} comes first`);
  if (earlyBytes.length > Number(length)) throw new Error('more bytes than CONTENT_LENGTH says');
  return earlyBytes.length === Number(length) ? { headers, earlyBytes } : undefined;
}

/** Listens on a UNIX socket, and keeps the messages in the order they became whole. */
export class Recorder {
  readonly messages: Recorded[] = [];
  readonly #server: Server;
  readonly #errors: unknown[] = [];
  readonly #waiting: Socket[] = [];

  private constructor(answer: Answer) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      let received = '';
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString('latin1');
        try {
          const message = parseMessage(received);
          if (message === undefined) return;
          this.messages.push(message);
        } catch (error) {
          this.#errors.push(error);
        }
        if (answer === 'later') this.#waiting.push(socket);
        else socket.end(Buffer.of(ANSWERS[answer]));
      });
      socket.on('error', (error) => this.#errors.push(error));
      socket.on('end', () => socket.end());
    });
  }

  static async listen(path: string, answer: Answer = 'taken'): Promise<Recorder> {
    const recorder = new Recorder(answer);
    recorder.#server.listen(path);
    await once(recorder.#server, 'listening');
    // nginx's workers run as another user.
    chmodSync(path, 0o666);
    return recorder;
  }

  /** Says of the messages that wait that they are taken. */
  takeWaiting(): void {
    for (const socket of this.#waiting.splice(0)) socket.end(Buffer.of(ANSWERS.taken));
  }

  /** @throws if something came that was no message */
  async close(): Promise<void> {
    this.#server.close();
    await once(this.#server, 'close');
    deepStrictEqual(this.#errors, []);
  }
}

export interface RecordingNginx {
  readonly nginx: Nginx;
  readonly recorder: Recorder;
  /** Where nginx listens, beside what `server` adds. */
  readonly host: string;
  readonly port: number;
  readonly folder: string;
  /** The access log when it has `count` lines, in the format of {@link RecordingNginxOptions.logFormat}. */
  accessLog(count: number): Promise<string[]>;
}

/** Each text may name the folder as `@FOLDER@`; the recorder listens on `@FOLDER@/app.sock`. */
export interface RecordingNginxOptions {
  /** What goes into the server block, which listens on an address already. @default everything to the recorder */
  server?: string;
  /** Parameters of the server block's `listen`, before them a space. @default '' */
  listen?: string;
  /** What goes into the http block, before the server. @default '' */
  http?: string;
  /** @default taken */
  answer?: Answer;
  /** @default '$uri $status "$fd_pass_handover" "$fd_pass_upstream" "$fd_pass_time"' */
  logFormat?: string;
  nginx?: NginxOptions;
}

/** Starts both; at the end of the test nginx's workers must have the descriptors they had at the start. */
export async function recordingNginx(
  t: ExecutionContext,
  options: RecordingNginxOptions = {},
): Promise<RecordingNginx> {
  const {
    server = 'location / { fd_pass unix:@FOLDER@/app.sock; }',
    listen = '',
    http = '',
    answer,
    logFormat = '$uri $status "$fd_pass_handover" "$fd_pass_upstream" "$fd_pass_time"',
  } = options;
  const folder = nginxFolder();
  const address = ownAddress();
  const logFile = join(folder, 'access.log');
  const recorder = await Recorder.listen(join(folder, 'app.sock'), answer);
  const text = `log_format recorded '${logFormat}';\n${http}
    server { listen ${address}${listen}; server_name example.test; access_log @FOLDER@/access.log recorded;
    error_log @FOLDER@/error.log info;\n${server}\n}`;
  const nginx = await startNginx(folder, text.replaceAll('@FOLDER@', folder), {
    ...options.nginx,
    main: `${LOAD_MODULE} ${options.nginx?.main ?? ''}`,
  });
  const before = new Map<number, Descriptors>(nginx.workers().map((pid) => [pid, openDescriptors(pid)]));
  t.teardown(async () => {
    const changes = (): string[] =>
      [...before].flatMap(([pid, descriptors]) => descriptorChanges(descriptors, openDescriptors(pid)));
    await until('nginx has closed what it opened', () => changes().length === 0).catch(() => {});
    const left = changes();
    await nginx.close();
    await recorder.close();
    deepStrictEqual(left, [], "descriptors of nginx's workers");
  });
  const [host = '', port] = address.split(':');
  return {
    nginx,
    recorder,
    host,
    port: Number(port),
    folder,
    accessLog: async (count) => {
      const lines = (): string[] => readFileSync(logFile, 'latin1').split('\n').slice(0, -1);
      await until(`the access log has ${count} lines`, () => lines().length >= count);
      return lines();
    },
  };
}
