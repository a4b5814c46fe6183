// The module under valgrind's memcheck: no error on any of its ways, and nothing that stays behind grows with the requests.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { ChannelBackend, type ChannelMessage, keeping } from '../helpers/channel-backend.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';
import { temporaryFolder } from '../helpers/serve.js';
import { until } from '../helpers/until.js';
import { type Offer, REFUSED, TAKEN, WireBackend } from '../helpers/wire-backend.js';

guardDescriptors(test);
const withValgrind = needs(test, ...nginxWithModule, program('valgrind'));

const dropped =
  (byte?: number) =>
  (offer: Offer): void => {
    if (!offer.isWhole) return;
    offer.drop();
    offer.close(byte);
  };

/** Backends beside the one that serves, by the name of their socket. */
const BACKENDS: Record<string, (offer: Offer) => void> = {
  refuses: dropped(REFUSED),
  closes: dropped(),
  rubbish: dropped(0x48),
  silent: (offer) => {
    if (!offer.isOver) return;
    offer.drop();
    offer.close();
  },
  // About when nginx gives up.
  late: (offer) => {
    if (!offer.isWhole || offer.isOver) return;
    setTimeout(() => {
      if (offer.client === undefined) return;
      if (offer.close(TAKEN) === 0) offer.answer('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nlate');
      else offer.drop();
    }, 50);
  },
};

/** What a backend does that has kept the connection, by the last part of the target. */
const ON_CHANNELS: Record<string, (message: ChannelMessage) => void> = {
  keeps: keeping(),
  refuses: (message) => {
    message.connection.answer(REFUSED);
    message.drop();
  },
  // With whoever else waits on it.
  closes: (message) => {
    message.drop();
    message.connection.close();
  },
  last: (message) => {
    if (message.connection.close(TAKEN) === 0) message.serve('kept');
    else message.drop();
  },
  rubbish: (message) => {
    message.connection.answer(0x48);
    message.drop();
  },
};

/** Where somebody waits for it. */
const SOON = 'fd_pass_send_timeout 50ms;';

const get = (target: string, protocol = 'HTTP/1.1'): string =>
  `GET ${target} ${protocol}\r\nHost: example.test\r\nConnection: close\r\n\r\n`;
const FIELD = `${'x'.repeat(60_000)}\r\n`;

/** What a client sends, and what it gets to see. `undefined`: it leaves without waiting. */
const CASES: readonly (readonly [request: string, answer: RegExp | undefined])[] = [
  [get('/'), / 200 OK.*\r\n\r\n0$/s],
  ['POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 10\r\n\r\nname=value', / 200 OK.*\r\n\r\n10$/s],
  [
    `POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 61440\r\nA: ${FIELD}B: ${FIELD}C: ${FIELD}\r\n${'e'.repeat(61_440)}`,
    / 200 OK.*\r\n\r\n61440$/s,
  ],
  [`GET /nginx HTTP/1.1\r\nHost: example.test\r\n\r\n${get('/')}`, / 200 OK.*nginx.* 200 OK.*\r\n\r\n0$/s],
  [get('/', 'HTTP/1.0'), / 200 OK.*from the fallback$/s],
  [get('/alone/', 'HTTP/1.0'), / 505 /],
  [get('/param?with=arguments&more'), / 200 OK.*\r\n\r\n0$/s],
  [get('/next'), / 200 OK.*\r\n\r\n0$/s],
  [get('/variable?to=refuses'), / 50[24] /],
  [get('/variable?to=missing'), / 503 /],
  [get('/variable?to=late'), / (504|200) /],
  [get('/variable?to=silent'), undefined],
  ...Array(3).fill([get('/silent-channel/'), / 200 OK.*(kept \/silent-channel\/|from the fallback)$/s]),
  ...Array(6).fill([get('/channel/keeps'), / 200 OK.*\r\n\r\nkept/s]),
  [
    `GET /channel/keeps HTTP/1.1\r\nHost: a\r\nA: ${FIELD}B: ${FIELD}C: ${FIELD}\r\n`,
    / 200 OK.*\r\n\r\nkept/s,
  ],
  [get('/channel/last'), / 200 OK.*\r\n\r\nkept/s],
  ...['refuses', 'closes', 'rubbish'].map((what): [string, RegExp] => [
    get(`/channel/${what}`),
    / 200 OK.*from the fallback$/s,
  ]),
  ...Object.keys(BACKENDS)
    .filter((name) => name !== 'late')
    .flatMap((name): [string, RegExp][] => [
      [get(`/alone/${name}`), name === 'silent' ? / 504 / : / 502 /],
      [get(`/fallback/${name}`), / 200 OK.*from the fallback$/s],
    ]),
];

interface Findings {
  errors: string | undefined;
  definitelyLost: string | undefined;
  inUse: string | undefined;
  descriptors: string | undefined;
}

/** Goes `rounds` times through all cases. */
async function checked(t: ExecutionContext, rounds: number): Promise<Findings> {
  const log = join(await temporaryFolder(t), 'valgrind.log');
  const at = (socket: string, name: string): string => `unix:${join(dirname(socket), name)}`;
  const front = await behindNginx(t, {
    server: { maxHeaderSize: 262_144 },
    handler: (request, response) => {
      let length = 0;
      request.on('data', (bytes: Buffer) => {
        length += bytes.length;
      });
      request.on('end', () => response.end(String(length)));
    },
    nginx: {
      workers: 0,
      under: [
        'valgrind',
        '--leak-check=full',
        '--errors-for-leak-kinds=none',
        '--track-fds=yes',
        `--log-file=${log}`,
      ],
    },
    http: (socket) => {
      const failing = ['refuses', 'closes', 'rubbish', 'missing'].map(
        (name) => `server ${at(socket, name)} max_fails=0;`,
      );
      return `upstream next { ${failing.join(' ')} server unix:${socket} backup; }`;
    },
    locations: (socket) => `
      large_client_header_buffers 4 256k; keepalive_timeout 60s;
      location / { fd_pass unix:${socket}; fd_pass_fallback @fallback; }
      location /nginx { return 200 "nginx"; }
      location /next { fd_pass next; }
      location /param { fd_pass unix:${socket}; fd_pass_param REQUEST_ID $request_id; fd_pass_param ARGUMENT $arg_none if_not_empty; }
      location /variable { ${SOON} fd_pass unix:${dirname(socket)}/$arg_to; }
      ${Object.keys(BACKENDS)
        .map(
          (name) => `location /alone/${name} { ${name === 'silent' ? SOON : ''} fd_pass ${at(socket, name)}; }
            location /fallback/${name} { ${name === 'silent' ? SOON : ''} fd_pass ${at(socket, name)}; fd_pass_fallback @fallback; }`,
        )
        .join('\n')}
      location /alone/ { fd_pass unix:${socket}; }
      ${['', 'silent-']
        .map(
          (name) => `location /${name}channel/ {
            fd_pass ${at(socket, `${name}channel`)}; fd_pass_fallback @fallback; ${name === '' ? '' : SOON}
            fd_pass_keepalive 2; fd_pass_keepalive_timeout 200ms; fd_pass_keepalive_handovers 20; }`,
        )
        .join('\n')}
      location @fallback { return 200 "from the fallback"; }`,
  });
  for (const [name, behave] of Object.entries(BACKENDS)) {
    const backend = new WireBackend(join(dirname(front.socket), name), behave);
    t.teardown(() => backend.close());
  }
  const channels = new ChannelBackend(join(dirname(front.socket), 'channel'), (message) =>
    ON_CHANNELS[message.target.split('/').at(-1) ?? '']?.(message),
  );
  t.teardown(() => channels.close());
  // Keeps each connection, and says no more on it.
  const silent = new ChannelBackend(join(dirname(front.socket), 'silent-channel'), (message) => {
    if (message.connection.messages.length === 1) keeping()(message);
  });
  t.teardown(() => silent.close());
  for (let round = 0; round < rounds; round++) {
    await Promise.all(
      CASES.map(async ([request, answer]) => {
        const client = await RawClient.connect(front.port, front.host);
        await client.send(request);
        if (answer === undefined) client.socket.resetAndDestroy();
        else t.regex(await client.readToEnd(), answer, request.slice(0, 100));
      }),
    );
  }
  const lines = await front.accessLog(rounds * (CASES.length + 1));
  t.is(lines.length, rounds * (CASES.length + 1));
  await until('nginx has closed its channels', () =>
    [...channels.connections, ...silent.connections].every(({ isOver, isClosed }) => isOver || isClosed),
  );
  t.log(`${channels.messages.length} messages on ${channels.connections.length} connections`);
  await front.nginx.quit();
  const report = readFileSync(log, 'latin1');
  const found = (pattern: RegExp): string | undefined => pattern.exec(report)?.[1];
  const findings = {
    errors: found(/ERROR SUMMARY: (\d+) errors/),
    definitelyLost: found(/definitely lost: (\S+ bytes in \S+ blocks)/),
    inUse: found(/in use at exit: (\S+ bytes in \S+ blocks)/),
    descriptors: found(/FILE DESCRIPTORS: (\d+) open/),
  };
  t.is(findings.errors, '0', report);
  return findings;
}

withValgrind(
  `${CASES.length} cases: no error, and ten times as many requests leave as much behind`,
  async (t) => {
    const [few, many] = await Promise.all([checked(t, 5), checked(t, 50)]);
    t.log(many);
    t.deepEqual(many, few);
  },
);
