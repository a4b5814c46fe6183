// Each way a backend can fail, through a real nginx: the client gets the next backend, the fallback or a clean status, and the
// access log says which backends were tried.
import { chmodSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { loadNative } from '#native/index.js';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import {
  answeringUnread,
  fullQueue,
  listeningSocket,
  type Offer,
  REFUSED,
  TAKEN,
  WireBackend,
} from '../helpers/wire-backend.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const bad = (socket: string): string => join(dirname(socket), 'bad.sock');

/** What is at the path, until the function it returns is called. */
type Setting = (path: string) => (() => void) | undefined;

const behaving =
  (behave: (offer: Offer) => void, isReading = true): Setting =>
  (path) => {
    const backend = new WireBackend(path, behave, isReading);
    return () => backend.close();
  };

/** When the message is whole. */
const then =
  (act: (offer: Offer) => void) =>
  (offer: Offer): void => {
    if (offer.isWhole) act(offer);
  };

const refuse = (offer: Offer): void => {
  offer.drop();
  offer.close(REFUSED);
};

const SMALL = 'GET @ HTTP/1.1\r\nHost: example.test\r\n\r\n';
const FIELD = `${'x'.repeat(60_000)}\r\n`;
/** More than a UNIX socket takes at once: the headers and 60 KiB that nginx reads with them. */
const LARGE = `POST @ HTTP/1.1\r\nHost: example.test\r\nContent-Length: 61440\r\nA: ${FIELD}B: ${FIELD}C: ${FIELD}\r\n${'e'.repeat(61_440)}`;

const failures: Record<string, { setting: Setting; status: number; request?: string }> = {
  'there is no socket': { setting: () => undefined, status: 503 },
  'a socket that nobody listens on any more': {
    setting: (path) => {
      loadNative().closeFd(listeningSocket(path, 1));
      return undefined;
    },
    status: 503,
  },
  'a socket that nginx may not connect to': {
    setting: (path) => {
      const fd = listeningSocket(path, 16);
      chmodSync(path, 0);
      return () => loadNative().closeFd(fd);
    },
    status: 503,
  },
  'an accept queue that is full': { setting: fullQueue, status: 503 },
  'it closes as soon as it is offered something': {
    setting: behaving((offer) => offer.close()),
    status: 502,
  },
  'it closes when it has the client': { setting: behaving(then((offer) => offer.close())), status: 502 },
  'it closes in the middle of a large message': {
    setting: behaving((offer) => offer.close()),
    status: 502,
    request: LARGE,
  },
  'it answers HTTP': { setting: behaving(then((offer) => offer.close(0x48))), status: 502 },
  'it answers a NUL and stays': { setting: behaving(then((offer) => offer.reply(0))), status: 502 },
  'it refuses': { setting: behaving(then(refuse)), status: 502 },
  'it refuses and stays connected': {
    setting: behaving(
      then((offer) => {
        offer.drop();
        offer.reply(REFUSED);
      }),
    ),
    status: 502,
  },
  'it acknowledges a message that it has not got': {
    setting: (path) => answeringUnread(path, TAKEN),
    status: 502,
    request: LARGE,
  },
  'it refuses a message that it has not got': {
    setting: (path) => answeringUnread(path, REFUSED),
    status: 502,
    request: LARGE,
  },
  'it accepts and is silent': { setting: behaving(() => {}), status: 504 },
  'it never accepts': { setting: behaving(() => {}, false), status: 504 },
  'it never reads a large message': { setting: behaving(() => {}, false), status: 504, request: LARGE },
};

/** @param timeout for the backend that serves as well: only as short as the case needs */
const locations = (socket: string, timeout: string): string => `
  large_client_header_buffers 4 256k; fd_pass_send_timeout ${timeout};
  location /alone { fd_pass unix:${bad(socket)}; }
  location /fallback { fd_pass unix:${bad(socket)}; fd_pass_fallback @fallback; }
  location /next { fd_pass bad_first; }
  location @fallback { return 200 "from the fallback"; }`;

/** The status, the body, and that there was one whole answer and a polite end. */
async function answerTo(t: ExecutionContext, { port, host }: BehindNginx, request: string): Promise<string> {
  const client = await RawClient.connect(port, host);
  void client.send(request.replace('HTTP/1.1\r\n', 'HTTP/1.1\r\nConnection: close\r\n'));
  const answer = await client.readToEnd();
  t.is(client.error, undefined);
  t.is(answer.split('HTTP/1.1 ').length, 2, answer);
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  t.is(Number(/^content-length: (\d+)/im.exec(head)?.[1]), body.length, answer);
  return `${head.slice(9, 12)} ${head.includes('Server: nginx') ? 'nginx' : 'backend'}: ${body}`;
}

for (const [failure, { setting, status, request = SMALL }] of Object.entries(failures)) {
  withNginx(`${failure}: the next backend, the fallback, or ${status}`, async (t) => {
    const front = await behindNginx(t, {
      http: (socket) =>
        `upstream bad_first { server unix:${bad(socket)} max_fails=0; server unix:${socket} backup; }`,
      locations: (socket) => locations(socket, status === 504 ? '1s' : '30s'),
      server: { maxHeaderSize: 262_144 },
      handler: (incoming, response) => {
        incoming.on('end', () => response.end(`from the next one`)).resume();
      },
    });
    const path = bad(front.socket);
    const end = setting(path);
    t.teardown(() => end?.());

    const to = (target: string): Promise<string> => answerTo(t, front, request.replace('@', target));
    const [alone, fallback, next] = await Promise.all([to('/alone'), to('/fallback'), to('/next')]);
    t.regex(alone, new RegExp(`^${status} nginx: `));
    t.is(fallback, '200 nginx: from the fallback');
    t.is(next, '200 backend: from the next one');
    // One that refuses may have a successor on its path by now.
    const tried = failure.startsWith('it refuses') ? `${path}, unix:${path}` : path;

    const lines = (await front.accessLog(3)).sort();
    const [method = ''] = request.split(' ');
    t.like(
      lines.map((line) => line.replace(/ \d+\.\d{3}$/, '').replace(/ \d+ none/, ' none')),
      [
        `${method} /alone ${status} none "unix:${tried}"`,
        `${method} /fallback 200 none "unix:${tried}"`,
        `${method} /next 000 0 full "unix:${path}, unix:${front.socket}"`,
      ],
    );
    const seconds = lines.map((line) => Number(line.split(' ').at(-1)));
    t.true(
      seconds.every((time) => (status === 504 ? time >= 1 : time < 30)),
      lines.join('\n'),
    );
  });
}
