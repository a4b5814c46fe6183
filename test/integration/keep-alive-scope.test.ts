// Which later requests of a connection are served: none without a scope; with one those inside of it, by the path the web
// server would have judged. Nothing of the others reaches the handler.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { type HandedClient, type HandOverOptions, handOver } from '../helpers/hand-over.js';
import { type Handler, type Served, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS = ['full', 'partial'] as const;
const request = (target: string, host = 'example.test', more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;

interface Fixture extends Served {
  /** Targets the handler saw, in order. */
  seen: string[];
}

async function start(t: ExecutionContext, scope?: string, handler?: Handler): Promise<Fixture> {
  const seen: string[] = [];
  const served = await serve(
    t,
    scope === undefined ? {} : { keepAlive: { scope } },
    (incoming: IncomingMessage, response) => {
      seen.push(incoming.url ?? '');
      if (handler !== undefined) handler(incoming, response);
      else response.end(`<${incoming.url}>\n`);
    },
  );
  for (const event of ['upgrade', 'checkContinue', 'connect']) {
    served.server.on(event, () => seen.push(event));
  }
  return { ...served, seen };
}

const statuses = (answer: string): string[] =>
  answer.match(/^HTTP\/1\.1 \d+/gm)?.map((line) => line.slice(9)) ?? [];

for (const kind of KINDS) {
  const open = (path: string, options: HandOverOptions = {}): Promise<HandedClient> =>
    handOver(path, { kind, ...options });

  test(`${kind}, no scope: the answer says Connection: close and the connection is closed`, async (t) => {
    const { path } = await start(t);
    const client = await open(path);
    const answer = await client.readToEnd();
    t.regex(answer, /^Connection: close$/m);
    t.notRegex(answer, /keep-alive/i);
  });

  test(`${kind}, no scope: a handler that says Connection: keep-alive does not decide it`, async (t) => {
    const { path, seen } = await start(t, undefined, (_request, response) => {
      response.setHeader('Connection', 'keep-alive');
      response.end('answered');
    });
    const client = await open(path, { headers: { HTTP_CONNECTION: 'keep-alive' } });
    await client.send(request('/second'));
    const answer = await client.readToEnd();
    t.deepEqual(statuses(answer), ['200']);
    t.regex(answer, /answered$/);
    t.deepEqual(seen, ['/']);
  });

  for (const [title, second] of Object.entries({
    'a second request': request('/second'),
    'fifty of them': request('/second').repeat(50),
    'a request with a body': `POST /second HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\n12345`,
    'an upgrade': request('/ws', 'example.test', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'),
    CONNECT: 'CONNECT example.test:443 HTTP/1.1\r\nHost: example.test\r\n\r\n',
    'a request that expects 100-continue': `POST / HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`,
    garbage: '\x16\x03\x01 garbage\r\n\r\n',
    'half a request': 'GET /sec',
  })) {
    test(`${kind}, no scope: ${title} behind the first one is not dispatched, and costs the first no answer`, async (t) => {
      let release = (): void => {};
      const { path, seen } = await start(t, undefined, (_request, response) => {
        release = () => response.end('first');
      });
      for (const isEarly of [true, false]) {
        const client = await open(path, isEarly ? { earlyBytes: second } : {});
        if (!isEarly) await client.send(second);
        await until('the first is dispatched', () => seen.length > 0);
        await delay(20);
        release();
        const answer = await client.readToEnd();
        t.deepEqual(statuses(answer), ['200']);
        t.regex(answer, /first$/);
        t.deepEqual(seen.splice(0), ['/']);
      }
    });
  }

  test(`${kind}: requests inside the scope are served one after the other`, async (t) => {
    const { path, seen } = await start(t, '/app/');
    // The first one was judged by the web server: it need not be inside.
    const client = await open(path, { target: '/login?next=/app/' });
    await client.readUntil('</login?next=/app/>');
    const targets = [
      '/app/',
      '/app/a/b',
      '/app/?x=/../',
      '/%61pp/x',
      '/app/%C3%A4',
      '/app/a..b',
      '/app/.hidden',
    ];
    for (const target of targets) {
      await client.send(request(target));
      await client.readUntil(`<${target}>`);
    }
    await client.send(request('/app/last', 'EXAMPLE.test', 'Connection: close\r\n'));
    t.deepEqual(statuses(await client.readToEnd()), Array(targets.length + 2).fill('200'));
    t.deepEqual(seen, ['/login?next=/app/', ...targets, '/app/last']);
  });

  test(`${kind}: requests pipelined inside the scope are served, until one is outside`, async (t) => {
    const { path, seen } = await start(t, '/app/');
    const client = await open(path, {
      target: '/app/1',
      earlyBytes: request('/app/2') + request('/admin') + request('/app/3'),
    });
    const answer = await client.readToEnd();
    t.deepEqual(statuses(answer), ['200', '200', '421']);
    t.deepEqual(seen, ['/app/1', '/app/2']);
  });
}

const outside: Record<string, string> = {
  'another path': request('/admin'),
  'the scope without its slash': request('/app'),
  'another case': request('/APP/'),
  'another host': request('/app/', 'other.test'),
  'another port': request('/app/', 'example.test:8080'),
  'absolute form': request('http://example.test/app/'),
  'absolute form, other scheme': request('https://example.test/app/'),
  'asterisk form': 'OPTIONS * HTTP/1.1\r\nHost: example.test\r\n\r\n',
  'a dot segment': request('/app/../admin'),
  'a dot segment at the end': request('/app/..'),
  'a single dot': request('/app/./x'),
  'encoded dots': request('/app/%2e%2e/admin'),
  'half encoded dots': request('/app/.%2E/admin'),
  'an encoded slash': request('/app/..%2fadmin'),
  'an encoded slash that goes nowhere': request('/app/a%2Fb'),
  'a double slash': request('/app//admin'),
  'a double slash first': request('//app/'),
  'a backslash': request('/app/..\\admin'),
  'an encoded backslash': request('/app/..%5cadmin'),
  'an encoded NUL': request('/app/%00'),
  'broken encoding': request('/app/%zz'),
  'broken UTF-8': request('/app/%ff'),
};

for (const [title, second] of Object.entries(outside)) {
  test(`${title}: 421, closed, and the handler sees nothing of it`, async (t) => {
    const { path, seen, errors } = await start(t, '/app/');
    for (const kind of KINDS) {
      const client = await handOver(path, { kind, target: '/app/' });
      await client.readUntil('</app/>');
      await client.send(second + request('/app/third'));
      const answer = await client.readToEnd();
      t.deepEqual(statuses(answer), ['200', '421']);
      t.regex(answer, /HTTP\/1\.1 421 Misdirected Request\r\n(?:.+\r\n)*Connection: close\r\n/);
      t.deepEqual(seen.splice(0), ['/app/']);
    }
    t.deepEqual(errors, []);
  });
}

test('a body behind a misdirected head does not reach the handler, and its client reads the 421', async (t) => {
  const { path, seen } = await start(t, '/app/');
  for (const kind of KINDS) {
    const client = await handOver(path, { kind, target: '/app/' });
    await client.readUntil('</app/>');
    const body = Buffer.alloc(2_000_000, 'x');
    const sent = client.send(
      `POST /admin HTTP/1.1\r\nHost: example.test\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    const rest = client.send(body);
    t.deepEqual(statuses(await client.readToEnd()), ['200', '421']);
    await Promise.all([sent, rest]);
    t.is(client.answer.error, undefined);
    t.deepEqual(seen.splice(0), ['/app/']);
  }
});

test('an upgrade outside the scope gets 421, inside it is served', async (t) => {
  const { path, server } = await start(t, '/app/');
  server.removeAllListeners('upgrade');
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\nupgraded'));
  for (const kind of KINDS) {
    for (const [target, expected] of [
      ['/app/ws', /upgraded$/],
      ['/ws', /HTTP\/1\.1 421 Misdirected Request\r\n(?:.+\r\n)*\r\n421 Misdirected Request\n$/],
    ] as const) {
      const client = await handOver(path, { kind, target: '/app/' });
      await client.readUntil('</app/>');
      await client.send(request(target, 'example.test', 'Connection: Upgrade\r\nUpgrade: websocket\r\n'));
      t.regex(await client.readToEnd(), expected);
    }
  }
});

test('an upgrade outside the scope behind an answer that is still due does not overtake it', async (t) => {
  let release = (): void => {};
  const { path, seen } = await start(t, '/app/', (_request, response) => {
    release = () => response.end('first');
  });
  for (const kind of KINDS) {
    const upgrade = request('/ws', 'example.test', 'Connection: Upgrade\r\nUpgrade: websocket\r\n');
    const client = await handOver(path, { kind, target: '/app/', earlyBytes: upgrade });
    await until('the first is dispatched', () => seen.length > 0);
    await delay(20);
    release();
    const answer = await client.readToEnd();
    t.deepEqual(statuses(answer), ['200']);
    t.regex(answer, /Connection: close\r\n(?:.+\r\n)*\r\nfirst$/);
    t.deepEqual(seen.splice(0), ['/app/']);
  }
});

test('scope /: every path is served, in every spelling that means one thing', async (t) => {
  const { path, seen } = await start(t, '/');
  const client = await handOver(path);
  await client.readUntil('</>');
  for (const target of ['/a', '/b/c?d', '/%20']) {
    await client.send(request(target));
    await client.readUntil(`<${target}>`);
  }
  await client.send('OPTIONS * HTTP/1.1\r\nHost: example.test\r\n\r\n');
  await client.readUntil('<*>');
  await client.send(request('/a/../b'));
  t.deepEqual(statuses(await client.readToEnd()).at(-1), '421');
  t.deepEqual(seen, ['/', '/a', '/b/c?d', '/%20', '*']);
});

test('relay: one request, whatever the scope', async (t) => {
  const { path, seen } = await start(t, '/');
  const client = await handOver(path, { kind: 'relay', headers: { HTTP_CONNECTION: 'keep-alive' } });
  t.regex(await client.readToEnd(), /^Status: 200 OK\r\n/);
  t.deepEqual(seen, ['/']);
});

test('bodies before the later request are read as bodies', async (t) => {
  const { path, seen } = await start(t, '/app/', async (incoming, response) =>
    response.end(`<${await text(incoming)}>`),
  );
  const inBody = request('/app/not-a-request');
  const client = await handOver(path, {
    method: 'POST',
    target: '/app/',
    headers: { HTTP_CONTENT_LENGTH: String(inBody.length) },
    earlyBytes: inBody.slice(0, 10),
  });
  await client.send(inBody.slice(10) + request('/app/2'));
  await client.readUntil('<>');
  t.true(client.received.includes(`\r\n\r\n<${inBody}>`));
  t.deepEqual(seen, ['/app/', '/app/2']);
  await client.close();
});

test('an idle connection inside the scope is closed after keepAliveTimeout', async (t) => {
  const served = await start(t, '/');
  served.server.keepAliveTimeout = 100;
  for (const kind of KINDS) {
    const client = await handOver(served.path, { kind });
    await client.readUntil('</>');
    const began = performance.now();
    await once(client.answer.socket, 'end');
    t.true(performance.now() - began < 3000);
    await client.close();
  }
});
