// An upstream of several UNIX sockets: which one is asked, how often, and when one is left alone for a while.
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { behindNginx } from '../helpers/behind-nginx.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';
import { type Offer, REFUSED, TAKEN, WireBackend } from '../helpers/wire-backend.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

/** What a backend does with a client. */
const behaviours = {
  serves: (offer: Offer, name: string) => {
    if (offer.close(TAKEN) === 0) offer.answer(name);
  },
  refuses: (offer: Offer) => {
    offer.drop();
    offer.close(REFUSED);
  },
  closes: (offer: Offer) => {
    offer.drop();
    offer.close();
  },
  'refuses at the first bytes': (offer: Offer) => {
    offer.drop();
    offer.close(REFUSED);
  },
  'talks HTTP': (offer: Offer) => {
    offer.drop();
    offer.close(0x48);
  },
  'is silent': () => {},
} satisfies Record<string, (offer: Offer, name: string) => void>;

type Behaviour = keyof typeof behaviours;

interface Upstream {
  /** What the client got: a backend's name, or nginx's status. */
  ask(target?: string, fields?: string): Promise<string>;
  /** The backends asked for each request, e.g. `a, b`, with the status in front of it. */
  log(count: number): Promise<string[]>;
  behave(name: string, behaviour: Behaviour): void;
  /** How many clients a backend was offered. */
  offered(name: string): number;
}

/**
 * @param servers the upstream block, with `{a}` for the socket of backend `a`
 * @param behave by name; others have no socket
 */
async function upstream(
  t: ExecutionContext,
  servers: string,
  behave: Record<string, Behaviour>,
  directives = '',
): Promise<Upstream> {
  const place = (socket: string, name: string): string => join(dirname(socket), name);
  const behind = await behindNginx(t, {
    http: (socket) => {
      const block = servers.replace(/\{(\w+)\}/g, (_all, name) => `unix:${place(socket, name)}`);
      return `upstream app { ${block} }`;
    },
    locations: () => `large_client_header_buffers 4 256k; location / { fd_pass app; ${directives} }`,
  });
  const current = new Map(Object.entries(behave));
  const backends = new Map<string, WireBackend>();
  for (const name of current.keys()) {
    const path = place(behind.socket, name);
    const act = (offer: Offer): void => {
      const behaviour = current.get(name) ?? 'closes';
      const isTime = offer.isWhole || behaviour === 'refuses at the first bytes';
      if (isTime && !offer.isOver) behaviours[behaviour](offer, name);
    };
    const backend = new WireBackend(path, act);
    backends.set(name, backend);
    t.teardown(() => backend.close());
  }
  return {
    ask: async (target = '/', fields = '') => {
      const client = await RawClient.connect(behind.port, behind.host);
      await client.send(`GET ${target} HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n${fields}\r\n`);
      const answer = await client.readToEnd();
      return /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? answer;
    },
    log: async (count) =>
      (await behind.accessLog(count)).map((line) => {
        const [, status, asked = ''] = /^GET \S+ (\d+) \d+ \w+ "(.*)"/.exec(line) ?? [];
        return `${status} ${asked.replaceAll(`unix:${dirname(behind.socket)}/`, '')}`;
      }),
    behave: (name, behaviour) => current.set(name, behaviour),
    offered: (name) => backends.get(name)?.offers.length ?? 0,
  };
}

const times = async <T>(count: number, one: () => Promise<T>): Promise<T[]> => {
  const all: T[] = [];
  for (let n = 0; n < count; n++) all.push(await one());
  return all;
};

withNginx('clients are spread over backends by their weights', async (t) => {
  const { ask, log } = await upstream(t, 'server {a} weight=2; server {b};', { a: 'serves', b: 'serves' });
  const served = await times(12, () => ask());
  t.deepEqual(
    [served.filter((name) => name === 'a').length, served.filter((name) => name === 'b').length],
    [8, 4],
  );
  t.deepEqual((await log(12)).sort(), [...Array(8).fill('000 a'), ...Array(4).fill('000 b')]);
});

withNginx('a hash sends a target to the same backend each time', async (t) => {
  const { ask } = await upstream(t, 'hash $request_uri consistent; server {a}; server {b}; server {c};', {
    a: 'serves',
    b: 'serves',
    c: 'serves',
  });
  const targets = Array.from({ length: 12 }, (_none, n) => `/${n}`);
  const first = await Promise.all(targets.map((target) => ask(target)));
  t.deepEqual(await Promise.all(targets.map((target) => ask(target))), first);
  t.true(new Set(first).size > 1);
});

withNginx('least_conn counts the clients a backend has not taken yet', async (t) => {
  const { ask, offered } = await upstream(
    t,
    'least_conn; server {a}; server {b};',
    { a: 'is silent', b: 'serves' },
    'fd_pass_send_timeout 2s;',
  );
  const waiting = ask();
  const served: string[] = [];
  while (offered('a') === 0) served.push(await ask());
  served.push(...(await times(6, () => ask())));
  t.true(
    served.every((name) => name === 'b'),
    served.join(' '),
  );
  // To its timeout, then to the other one.
  t.is(await waiting, 'b');
});

withNginx('a backup is asked only when the others do not take the client', async (t) => {
  const { ask, log, behave } = await upstream(t, 'server {a} max_fails=0; server {b} backup;', {
    a: 'serves',
    b: 'serves',
  });
  t.deepEqual(await times(4, () => ask()), ['a', 'a', 'a', 'a']);
  behave('a', 'closes');
  t.is(await ask(), 'b');
  behave('a', 'serves');
  t.is(await ask(), 'a');
  t.deepEqual(await log(6), ['000 a', '000 a', '000 a', '000 a', '000 a, b', '000 a']);
});

withNginx('a server marked down is not asked', async (t) => {
  const { ask, offered } = await upstream(t, 'server {a} down; server {b};', { a: 'serves', b: 'serves' });
  t.deepEqual(await times(3, () => ask()), ['b', 'b', 'b']);
  t.is(offered('a'), 0);
});

withNginx('each backend is asked once, in order, and the last failure decides the status', async (t) => {
  const { ask, log, behave } = await upstream(
    t,
    'server {missing} max_fails=0; server {a} max_fails=0 backup; server {b} max_fails=0 backup;',
    { a: 'closes', b: 'closes' },
    'fd_pass_send_timeout 100ms;',
  );
  t.is(await ask(), '502');
  behave('a', 'is silent');
  behave('b', 'is silent');
  t.is(await ask(), '504');
  t.regex((await log(1))[0] ?? '', /^502 missing, (a, b|b, a)$/);
  t.regex((await log(2))[1] ?? '', /^504 missing, (a, b|b, a)$/);
});

for (const behaviour of ['closes', 'refuses', 'is silent'] as const) {
  withNginx(`fd_pass_next_tries 1: no other backend is asked when the first one ${behaviour}`, async (t) => {
    const { ask, log, offered } = await upstream(
      t,
      'server {a} max_fails=0; server {b} backup;',
      { a: behaviour, b: 'serves' },
      'fd_pass_next_tries 1; fd_pass_send_timeout 100ms;',
    );
    const status = behaviour === 'is silent' ? '504' : '502';
    t.deepEqual(await times(2, () => ask()), [status, status]);
    t.is(offered('b'), 0);
    t.deepEqual(await log(2), [`${status} a`, `${status} a`]);
  });
}

withNginx('fd_pass_next_tries 2 asks two of three', async (t) => {
  const { ask, log } = await upstream(
    t,
    'server {a} max_fails=0; server {b} max_fails=0; server {c} max_fails=0;',
    { a: 'closes', b: 'closes', c: 'closes' },
    'fd_pass_next_tries 2;',
  );
  t.deepEqual(await times(3, () => ask()), ['502', '502', '502']);
  for (const line of await log(3)) t.regex(line, /^502 \w, \w$/);
});

withNginx('fd_pass_next_timeout: past it no other backend is asked', async (t) => {
  const { ask, log, behave } = await upstream(
    t,
    'server {a} max_fails=0; server {b} backup;',
    { a: 'is silent', b: 'serves' },
    'fd_pass_send_timeout 1500ms; fd_pass_next_timeout 1s;',
  );
  t.is(await ask(), '504');
  behave('a', 'closes');
  t.is(await ask(), 'b');
  t.deepEqual(await log(2), ['504 a', '000 a, b']);
});

for (const behaviour of ['talks HTTP', 'is silent'] as const) {
  withNginx(
    `max_fails: a backend that ${behaviour} is left alone for fail_timeout, then asked again`,
    async (t) => {
      const { ask, log, behave } = await upstream(
        t,
        'server {a} max_fails=2 fail_timeout=4s; server {b} backup;',
        { a: behaviour, b: 'serves' },
        'fd_pass_send_timeout 500ms;',
      );
      t.deepEqual(await times(5, () => ask()), ['b', 'b', 'b', 'b', 'b']);
      t.deepEqual(await log(5), ['000 a, b', '000 a, b', '000 b', '000 b', '000 b']);
      behave('a', 'serves');
      const answers: string[] = [];
      const began = performance.now();
      while (answers.at(-1) !== 'a' && performance.now() - began < 10_000) answers.push(await ask());
      t.is(answers.at(-1), 'a');
      // nginx counts whole seconds.
      t.true(performance.now() - began > 1000);
      t.deepEqual(await times(3, () => ask()), ['a', 'a', 'a']);
    },
  );
}

withNginx('max_fails: a socket that nobody listens on is left alone', async (t) => {
  const { ask, log } = await upstream(t, 'server {missing} fail_timeout=60s; server {b} backup;', {
    b: 'serves',
  });
  t.deepEqual(await times(3, () => ask()), ['b', 'b', 'b']);
  t.deepEqual(await log(3), ['000 missing, b', '000 b', '000 b']);
});

// A client can bring both about, with more than the backend takes.
for (const behaviour of ['refuses', 'closes'] as const) {
  withNginx(`it is no failure that a backend ${behaviour}: it is asked each time`, async (t) => {
    const { ask, log, offered } = await upstream(t, 'server {a} max_fails=1; server {b} backup;', {
      a: behaviour,
      b: 'serves',
    });
    t.deepEqual(await times(5, () => ask()), ['b', 'b', 'b', 'b', 'b']);
    t.is(offered('a'), 5);
    t.deepEqual(await log(5), Array(5).fill('000 a, b'));
  });
}

withNginx('a refusal is none either while nginx is still sending', async (t) => {
  const { ask, log } = await upstream(t, 'server {a} max_fails=1 fail_timeout=60s; server {b} backup;', {
    a: 'refuses at the first bytes',
    b: 'serves',
  });
  // More than a UNIX socket takes at once.
  const fields = ['A', 'B', 'C', 'D'].map((name) => `${name}: ${'x'.repeat(60_000)}\r\n`).join('');
  for (const served of await times(100, () => ask('/', fields))) t.is(served, 'b');
  t.deepEqual(await log(100), Array(100).fill('000 a, b'));
});

withNginx('when all have failed lately, nobody is asked and the client is told at once', async (t) => {
  const { ask, log, behave, offered } = await upstream(
    t,
    'server {a} fail_timeout=60s; server {b} fail_timeout=60s;',
    { a: 'talks HTTP', b: 'talks HTTP' },
  );
  t.is(await ask(), '502');
  behave('a', 'serves');
  t.deepEqual(await times(3, () => ask()), ['503', '503', '503']);
  t.deepEqual([offered('a'), offered('b')], [1, 1]);
  t.deepEqual(
    (await log(4)).map((line) => line.replace('b, a', 'a, b')),
    ['502 a, b', '503 -', '503 -', '503 -'],
  );
});
