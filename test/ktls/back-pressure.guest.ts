// Who waits for whom: an application that does not read, a client that does not, a client that has said all it will before it is
// answered, or has left. And that in a partial handover the application leaves the client's records to the web server.
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { get } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { until } from '../helpers/until.js';
import { kernelDecryptsTls13 } from './nginx-under-test.js';
import {
  downloadChunk,
  type Facts,
  type Front,
  PARTIAL_VERSIONS,
  sha256,
  startFront,
  VERSIONS,
  withFront,
} from './passing-front.js';
import { clientOptions, openClient, python, type Step } from './tls-clients.js';

const native = loadNative();
const GET = 'GET / HTTP/1.1\r\nHost: example.test\r\n\r\n';
/** More than the kernel keeps for two connections. */
const MUCH = 2 ** 26;
/** What kernels and streams may hold of it, in all. */
const BUFFERS = 2 ** 24;
const STANDSTILL_MS = 500;

/** Resolves with `value` when it stays what it is. */
async function standstill(value: () => number): Promise<number> {
  for (;;) {
    const before = value();
    await delay(STANDSTILL_MS);
    if (value() === before) return before;
  }
}

for (const { version, kind } of VERSIONS) {
  const kernel = { tx: 1, rx: kind === 'full' ? 1 : 0 };
  const as = (title: string): string => `${version}, ${kind}: ${title}`;

  withFront(as('an application that does not read holds its client back'), async (t) => {
    const front = await startFront(t, { kernel });
    const client = await openClient(t, front.port, version);
    const content = Buffer.alloc(MUCH, downloadChunk);
    let isSent = false;
    const sending = client
      .send(`POST /held HTTP/1.1\r\nHost: example.test\r\nContent-Length: ${MUCH}\r\n\r\n`)
      .then(() => client.send(content))
      .then(() => {
        isSent = true;
      });
    await until('the request is there', () => front.progress.held === 1);
    const read = await standstill(() => front.sockets[0]?.bytesRead ?? 0);
    t.log(`${read} bytes of ${MUCH} were read`);
    t.true(read < 2 ** 20);
    t.false(isSent);
    front.release();
    await sending;
    const facts = JSON.parse((await readAnswer(client)).body) as Facts;
    t.like(facts, { handover: kind, bytes: MUCH, sha256: sha256(content) });
  });

  withFront(as('a client that does not read holds the application back'), async (t) => {
    const front = await startFront(t, { kernel });
    const options = { ...clientOptions(version), port: front.port, path: `/download/${MUCH}`, agent: false };
    const [response] = (await once(get(options), 'response')) as [IncomingMessage];
    const produced = await standstill(() => front.progress.produced);
    t.log(`${produced} bytes of ${MUCH} were produced`);
    t.true(produced < BUFFERS);
    t.is(sha256(await buffer(response)), sha256(Buffer.alloc(MUCH, downloadChunk)));
  });

  for (const [how, end] of [
    ['close_notify', [['close_notify'], ['send']]],
    ['FIN', [['fin']]],
  ] as [string, Step[]][]) {
    withFront(as(`the end of the client's stream by ${how}, before the answer begins`), async (t) => {
      const front = await startFront(t, { kernel });
      const client = python(front.port, version, [
        ['write', GET],
        ['send'],
        ['read_until', '}'],
        ['write', GET.replace('/', '/held')],
        ['send'],
        ...end,
        ['read_to_end'],
      ]);
      await until('the request is there', () => front.progress.held === 1);
      // In a partial handover: EOF on the UNIX connection.
      await until('the stream has ended', () => front.sockets[0]?.readableEnded === true);
      front.release();
      const { received, ended } = await client;
      t.regex(received, /"url":"\/held",.*"requestNumber":2,/);
      t.is(ended, 'close_notify');
      t.deepEqual(front.errors, []);
    });
  }
}

/** How long a kernel answers for a client that has left. */
const FIN_TIMEOUT = '/proc/sys/net/ipv4/tcp_fin_timeout';
/** Two probes of 5 s, a look each second, and a slow machine. */
const PATIENCE_MS = 15_000;

const halfCloses: Step[][] = [[['close_notify'], ['send']], [['close_notify'], ['send'], ['fin']], [['fin']]];
const BEGIN: Step[] = [['write', GET.replace('/', '/begun')], ['send'], ['read_until', 'begun']];

/** An application whose answers to `/begun` begin, and that says what becomes of them. */
async function startBeginner(t: ExecutionContext, kernel: { tx: number; rx: number }) {
  const begun: ServerResponse[] = [];
  let left = 0;
  const front: Front = await startFront(t, {
    kernel,
    answers: {
      '/begun': (_request, response) => {
        response.setHeader('Connection', 'close');
        response.write('begun');
        response.on('close', () => {
          left += 1;
        });
        begun.push(response);
      },
    },
  });
  return { front, begun, left: () => left };
}

function leaveAtOnce(t: ExecutionContext): void {
  const before = readFileSync(FIN_TIMEOUT, 'latin1');
  writeFileSync(FIN_TIMEOUT, '1');
  t.teardown(() => writeFileSync(FIN_TIMEOUT, before));
}

const RECEIVED = /\r\nbegun\r\na\r\n and ended\r\n0\r\n\r\n$/;

const ways = VERSIONS.flatMap(({ version, kind }) => halfCloses.map((end) => ({ version, kind, end })));

// All ways at once: it takes a probe.
withFront(
  'half-closed in the middle of an answer: who stays gets the rest, who leaves ends it',
  async (t) => {
    leaveAtOnce(t);
    const { front, begun, left } = await startBeginner(t, {
      tx: 2 * ways.length,
      rx: 2 * ways.filter(({ kind }) => kind === 'full').length,
    });
    const clients = (then: Step) =>
      ways.map(({ version, end }) => python(front.port, version, [...BEGIN, ...end, then]));
    const staying = clients(['read_to_end']);
    await Promise.all(clients(['close']));
    await until('all are asked', () => begun.length === 2 * ways.length);
    await until('their streams have ended', () => front.sockets.every((socket) => socket.readableEnded));
    t.is(left(), 0);
    const areClosed = (): boolean => left() >= ways.length;
    await until('the answers of those that left are closed', areClosed, PATIENCE_MS).catch(() => {});
    t.is(left(), ways.length);
    for (const response of begun) response.end(' and ended');
    for (const { received, ended } of await Promise.all(staying)) {
      t.regex(received, RECEIVED);
      t.is(ended, 'close_notify');
    }
    t.deepEqual(
      front.errors,
      ways.map(() => 'ECONNRESET'),
    );
    await until('the application has no connection', () => front.server.stats().connections === 0);
  },
);

if (PARTIAL_VERSIONS.length === 0) {
  test('no handover is partial here', (t) => t.true(kernelDecryptsTls13()));
}

for (const { version } of PARTIAL_VERSIONS) {
  withFront(`${version}, partial: while nginx does not read, nobody does`, async (t) => {
    const front = await startFront(t, { kernel: { tx: 1, rx: 0 } });
    const client = await openClient(t, front.port, version);
    t.is((await exchange(client, GET)).status, 200);
    const [worker = 0] = front.workers();
    const fd = descriptorOf(front.sockets[0]);
    process.kill(worker, 'SIGSTOP');
    t.teardown(() => process.kill(worker, 'SIGCONT'));
    client.received = '';
    await client.send(GET);
    await until("the client's record is there", () => native.readQueueBytes(fd) > GET.length);
    const unread = native.readQueueBytes(fd);
    // It writes in the meantime, and is awake.
    t.is(await standstill(() => native.readQueueBytes(fd)), unread);
    process.kill(worker, 'SIGCONT');
    t.regex((await readAnswer(client)).body, /"requestNumber":2,/);
  });
}

/** What the answers of a connection are written to. */
function descriptorOf(socket: unknown): number {
  const { sink } = socket as { sink: { _handle: { fd: number } } };
  return sink._handle.fd;
}
