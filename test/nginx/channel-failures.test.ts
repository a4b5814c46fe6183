// What goes wrong on a channel: whoever waits on it is answered once, by whoever takes it, and one client's failure is not another's.
import test from 'ava';
import { type ChannelMessage, KEPT, keeping } from '../helpers/channel-backend.js';
import {
  type ChannelNginx,
  type ChannelNginxOptions,
  channelNginx,
  halted,
} from '../helpers/channel-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { until } from '../helpers/until.js';
import { REFUSED, TAKEN } from '../helpers/wire-backend.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const RUBBISH = 0x48;
const EPIPE = 32;

/** Whether the message came on the first connection, as another one than the first: there the test answers. */
const isHeld = ({ connection, target }: ChannelMessage): boolean =>
  target !== '/first' && connection.messages[0]?.target === '/first';

/** Clients that wait on one channel, in this order. */
interface Waiting extends ChannelNginx {
  readonly held: readonly ChannelMessage[];
  /** By the target `/0`, `/1`, ...: what each client gets in the end. */
  readonly answers: readonly Promise<string>[];
  /** Answers those who are waiting, in order, in one piece, and serves who is taken. */
  answer(...bytes: number[]): number;
}

/** A channel on which `count` clients wait. `behave` is for messages on other connections: they are kept and served as `anew`. */
async function waitingClients(
  t: Parameters<typeof channelNginx>[0],
  count: number,
  { behave = keeping('anew'), ...options }: ChannelNginxOptions = {},
): Promise<Waiting> {
  const held: ChannelMessage[] = [];
  const front = await channelNginx(t, {
    behave: (message) => {
      if (isHeld(message)) held.push(message);
      else behave(message);
    },
    http: (path, socket) => `upstream app { server unix:${path} max_fails=0; server unix:${socket} backup; }`,
    locations: () => 'location / { fd_pass app; }',
    ...options,
  });
  t.is(await front.ask('/first'), '200 anew /first');
  const answers: Promise<string>[] = [];
  for (let n = 0; n < count; n++) {
    answers.push(front.ask(`/${n}`));
    await until('it is offered', () => held.length === n + 1);
  }
  return {
    ...front,
    held,
    answers,
    answer: (...bytes) => {
      const errno = front.backend.connections[0]?.answer(...bytes) ?? -1;
      for (const [n, byte] of bytes.entries()) {
        if (errno === 0 && (byte === KEPT || byte === TAKEN)) held[n]?.serve(`held ${n}`);
        else held[n]?.drop();
      }
      return errno;
    },
  };
}

withNginx(
  'messages are sent without waiting for answers, which count in the order of the messages',
  async (t) => {
    const { held, answer, answers, backend, descriptors } = await waitingClients(t, 5);
    t.is(backend.connections.length, 1);
    t.deepEqual(
      held.map(({ target }) => target),
      ['/0', '/1', '/2', '/3', '/4'],
    );
    t.is(answer(KEPT, KEPT, KEPT, KEPT, KEPT), 0);
    t.deepEqual(await Promise.all(answers), [
      '200 held 0',
      '200 held 1',
      '200 held 2',
      '200 held 3',
      '200 held 4',
    ]);
    await until('nginx has the channel and nothing else', () => descriptors() === 1);
  },
);

withNginx('answers that come one by one are each for the next message', async (t) => {
  const { answers, backend, held } = await waitingClients(t, 3);
  for (const [n, message] of held.entries()) {
    t.is(backend.connections[0]?.answer(KEPT), 0);
    message.serve(`held ${n}`);
    t.is(await answers[n], `200 held ${n}`);
  }
});

withNginx('more than 64 answers in one piece', async (t) => {
  const COUNT = 150;
  const { answers, backend, held } = await waitingClients(t, COUNT, { nginx: { connections: 1024 } });
  for (const part of [64, 64, COUNT - 128])
    t.is(backend.connections[0]?.answer(...Array(part).fill(KEPT)), 0);
  for (const [n, message] of held.entries()) message.serve(`held ${n}`);
  t.deepEqual(
    await Promise.all(answers),
    Array.from({ length: COUNT }, (_none, n) => `200 held ${n}`),
  );
});

withNginx(
  'a refusal in the middle: that client goes to the next backend, the others are served',
  async (t) => {
    const { answer, answers, accessLog, ask, backend } = await waitingClients(t, 4);
    t.is(answer(KEPT, REFUSED, KEPT, REFUSED), 0);
    t.deepEqual(await Promise.all(answers), ['200 held 0', '200 next /1', '200 held 2', '200 next /3']);
    const lines = (await accessLog(5)).map((line) => line.replaceAll(/"unix:[^,"]+, unix:[^,"]+"/g, 'two'));
    t.is(lines.filter((line) => / full two /.test(line)).length, 2, lines.join('\n'));
    // The channel goes on.
    const last = ask('/again');
    await until('it is offered', () => backend.connections[0]?.messages.length === 6);
    t.is(backend.connections[0]?.answer(KEPT), 0);
    backend.messages.at(-1)?.serve('on the same');
    t.is(await last, '200 on the same');
  },
);

withNginx('a refusal where there is no other backend is the fallback, or 502', async (t) => {
  const { answer, answers } = await waitingClients(t, 2, {
    directives: 'fd_pass_keepalive 1; fd_pass_next_tries 1;',
    locations: () => `
      location / { fd_pass app; }
      location /0 { fd_pass app; fd_pass_fallback @fallback; }
      location @fallback { return 200 "fallback"; }`,
  });
  t.is(answer(REFUSED, REFUSED), 0);
  t.is(await answers[0], '200 fallback');
  t.regex((await answers[1]) ?? '', /^502 /);
});

withNginx('a backend that closes with unanswered clients gets each of them again, once', async (t) => {
  const { answer, answers, backend, held, accessLog, nginx } = await waitingClients(t, 5);
  t.is(answer(KEPT, KEPT), 0);
  backend.connections[0]?.close();
  for (const message of held) message.drop();
  t.deepEqual(await Promise.all(answers), [
    '200 held 0',
    '200 held 1',
    '200 anew /2',
    '200 anew /3',
    '200 anew /4',
  ]);
  for (const target of ['/0', '/1']) t.is(backend.messagesFor(target).length, 1);
  for (const target of ['/2', '/3', '/4']) t.is(backend.messagesFor(target).length, 2);
  // It is no failure, and the same backend: one try.
  for (const line of await accessLog(6)) t.regex(line, / 000 0 full "unix:[^,"]+" /);
  t.notRegex(nginx.errorLog(), /\[(warn|error|crit|alert|emerg)\]/);
});

withNginx('0x06 in the middle: that client is taken, those behind it are handed over again', async (t) => {
  const { held, answers, backend } = await waitingClients(t, 3);
  t.is(backend.connections[0]?.answer(KEPT, TAKEN), 0);
  backend.connections[0]?.close();
  held[0]?.serve('held 0');
  held[1]?.serve('held 1');
  held[2]?.drop();
  t.deepEqual(await Promise.all(answers), ['200 held 0', '200 held 1', '200 anew /2']);
});

withNginx('a backend that dies and does not come back: all go to the next one', async (t) => {
  const { answers, backend, accessLog } = await waitingClients(t, 3);
  backend.close();
  t.deepEqual(await Promise.all(answers), ['200 next /0', '200 next /1', '200 next /2']);
  for (const line of (await accessLog(4)).slice(1)) t.regex(line, / full "unix:[^,"]+, unix:[^,"]+" /);
});

withNginx('answers that came before the end count where nginx learns of the end by sending', async (t) => {
  const { answers, backend, held, nginx, host, port } = await waitingClients(t, 2);
  const late = await RawClient.connect(port, host);
  await late.send('GET /late HTTP/1.1\r\nHost: exam');
  const [worker = 0] = nginx.workers();
  const goOn = await halted(worker);
  // nginx is told of the request first, then of the channel.
  await late.send('ple.test\r\nConnection: close\r\n\r\n');
  t.is(backend.connections[0]?.answer(KEPT), 0);
  held[0]?.serve('held 0');
  held[1]?.drop();
  backend.connections[0]?.close();
  goOn();
  t.deepEqual(await Promise.all(answers), ['200 held 0', '200 anew /1']);
  t.true((await late.readToEnd()).endsWith('anew /late'));
  t.is(backend.messagesFor('/late').length, 1);
});

withNginx(
  'rubbish on a channel: that client goes to the next backend, those behind it are handed over again',
  async (t) => {
    const { answer, answers, backend, nginx } = await waitingClients(t, 3);
    t.is(answer(KEPT, RUBBISH), 0);
    t.deepEqual(await Promise.all(answers), ['200 held 0', '200 next /1', '200 anew /2']);
    await until('nginx has closed it', () => backend.connections[0]?.isOver === true);
    t.regex(nginx.errorLog(), /the backend answered 0x48 instead of an acknowledgement/);
  },
);

withNginx('an answer to nothing ends the channel', async (t) => {
  const { backend, ask, nginx } = await waitingClients(t, 0);
  t.is(backend.connections[0]?.answer(KEPT), 0);
  await until('nginx has closed it', () => backend.connections[0]?.isOver === true);
  t.is(await ask('/'), '200 anew /');
  t.regex(nginx.errorLog(), /a backend answered 0x16 where nothing was asked/);
});

withNginx('two answers on a connection that is not a channel yet: the second ends it', async (t) => {
  const { ask, backend } = await channelNginx(t, {
    behave: (message) => {
      message.connection.answer(KEPT, KEPT);
      message.serve('kept');
    },
  });
  t.is(await ask(), '200 kept');
  await until('nginx has closed it', () => backend.connections[0]?.isOver === true);
});

withNginx(
  'silence: who has waited to the end of fd_pass_send_timeout goes to the next backend, who has not is handed over again',
  async (t) => {
    const { ask, answers, backend, accessLog } = await waitingClients(t, 1, {
      directives: 'fd_pass_keepalive 1; fd_pass_send_timeout 2s;',
      locations: () => `
        location / { fd_pass app; }
        location /half { fd_pass app; fd_pass_next_tries 1; fd_pass_send_timeout 1s; }`,
      behave: (message) => (message.target === '/half' ? undefined : keeping('anew')(message)),
    });
    // A second passes.
    t.regex(await ask('/half'), /^504 /);
    const later = ask('/later');
    await until('it waits, too', () => backend.connections[0]?.messages.length === 3);
    t.is(await answers[0], '200 next /0');
    t.is(await later, '200 anew /later');
    await until('nginx has closed it', () => backend.connections[0]?.isOver === true);
    t.is(backend.connections[0]?.answer(KEPT), EPIPE);
    for (const connection of backend.connections) connection.drop();
    const lines = await accessLog(4);
    t.regex(lines.find((line) => line.includes('GET /0 ')) ?? '', / full "unix:[^,"]+, unix:[^,"]+" [23]\./);
    t.regex(lines.find((line) => line.includes('GET /later ')) ?? '', / full "unix:[^,"]+" /);
  },
);

withNginx('silence counts as a failure, an end without a word does not', async (t) => {
  const held: ChannelMessage[] = [];
  const { ask, backend } = await channelNginx(t, {
    directives: 'fd_pass_keepalive 1; fd_pass_send_timeout 500ms;',
    http: (path, socket) =>
      `upstream app { server unix:${path} fail_timeout=60s; server unix:${socket} backup; }`,
    locations: () => 'location / { fd_pass app; }',
    behave: (message) => {
      if (message.target === '/silent') return;
      if (message.target !== '/end' || held.push(message) > 1) return keeping('anew')(message);
      message.connection.close();
      message.drop();
    },
  });
  t.is(await ask(), '200 anew /');
  t.is(await ask('/end'), '200 anew /end');
  t.is(await ask(), '200 anew /');
  t.is(await ask('/silent'), '200 next /silent');
  t.is(await ask(), '200 next /');
  t.is(backend.messages.length, 5);
});

/** More than a UNIX socket takes at once. */
const FIELD = `${'x'.repeat(60_000)}\r\n`;
const LARGE = `A: ${FIELD}B: ${FIELD}C: ${FIELD}D: ${FIELD}`;

withNginx('large and small messages at once: each arrives whole, with its own client', async (t) => {
  const COUNT = 30;
  const { ask, backend } = await channelNginx(t, {
    directives: 'fd_pass_keepalive 2; large_client_header_buffers 8 64k;',
  });
  t.is(await ask(), '200 kept /');
  const answers = await Promise.all(
    Array.from({ length: COUNT }, (_none, n) => ask(`/${n}`, n % 3 === 0 ? LARGE : '')),
  );
  t.deepEqual(
    answers,
    Array.from({ length: COUNT }, (_none, n) => `200 kept /${n}`),
  );
  t.is(backend.messages.length, COUNT + 1);
  t.is(backend.messages.filter(({ bytes }) => bytes.length > 240_000).length, COUNT / 3);
});
