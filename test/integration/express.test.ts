// Express 5 unchanged on a handover server: what it says about the client, bodies, files, streams and errors. The same
// application on http.createServer is the control.
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { connectionInfo, createServer, sendFile } from '@fdpass/backend-runtime';
import test, { type ExecutionContext } from 'ava';
import express, { type ErrorRequestHandler, type Express } from 'express';
import { Agent, request } from 'undici';
import { openGateway } from '#runtime/testing/index.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';

guardDescriptors(test);

interface ServedApp {
  url: string;
  /** Undefined where there is no handover. */
  path: string | undefined;
  dispatcher: Agent;
}

type Serve = (t: ExecutionContext, app: Express) => Promise<ServedApp>;

/** An agent of the test's own, so that its idle connections end with the test. */
function agentOf(t: ExecutionContext): Agent {
  const agent = new Agent();
  t.teardown(() => agent.destroy());
  return agent;
}

const plain: Serve = async (t, app) => {
  const server = createHttpServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    const closed = once(server, 'close');
    server.close().closeAllConnections();
    await closed;
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    path: undefined,
    dispatcher: agentOf(t),
  };
};

const behind =
  (kind: 'full' | 'partial' | 'relay'): Serve =>
  async (t, app) => {
    const path = join(temporaryFolder(t), 'app.sock');
    const server = createServer({ keepAlive: { scope: '/' } }, app).listen({ path });
    await once(server, 'listening');
    const gateway = await openGateway(server, { kind });
    t.teardown(async () => {
      await gateway.close();
      const closed = once(server, 'close');
      server.destroy();
      await closed;
    });
    return { url: gateway.url, path, dispatcher: agentOf(t) };
  };

const ways = {
  'node:http': plain,
  full: behind('full'),
  partial: behind('partial'),
  relay: behind('relay'),
} as const satisfies Record<string, Serve>;

function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-express-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

for (const [way, serve] of Object.entries(ways)) {
  test(`${way}: req.ip, protocol, secure, host and xhr`, async (t) => {
    const app = express();
    app.get('/path', (req, res) => {
      const { ip, ips, protocol, secure, hostname, host, xhr, originalUrl, query } = req;
      res.json({ ip, ips, protocol, secure, hostname, host, xhr, originalUrl, query });
    });
    const { url, dispatcher } = await serve(t, app);
    const { body } = await request(`${url}/path?a=b`, {
      dispatcher,
      headers: {
        host: 'example.test:8443',
        'x-requested-with': 'XMLHttpRequest',
        'x-forwarded-for': '198.51.100.1',
      },
    });
    t.deepEqual(await body.json(), {
      ip: '127.0.0.1',
      ips: [],
      protocol: 'http',
      secure: false,
      hostname: 'example.test',
      host: 'example.test:8443',
      xhr: true,
      originalUrl: '/path?a=b',
      query: { a: 'b' },
    });
  });

  test(`${way}: "trust proxy" takes the client from X-Forwarded-For`, async (t) => {
    const app = express().set('trust proxy', 'loopback');
    app.get('/', ({ ip, ips, protocol }, res) => void res.json({ ip, ips, protocol }));
    const { url, dispatcher } = await serve(t, app);
    const headers = { 'x-forwarded-for': '198.51.100.1, 127.0.0.2', 'x-forwarded-proto': 'https' };
    const { body } = await request(url, { dispatcher, headers });
    t.deepEqual(await body.json(), {
      ip: '198.51.100.1',
      ips: ['198.51.100.1', '127.0.0.2'],
      protocol: 'https',
    });
  });

  test(`${way}: JSON, forms, raw bodies and their limits`, async (t) => {
    const app = express();
    app.use(
      express.json(),
      express.urlencoded({ extended: true }),
      express.raw({ type: 'x/raw', limit: 100_000 }),
    );
    app.post('/', (req, res) => {
      res.json(Buffer.isBuffer(req.body) ? { bytes: req.body.length } : { body: req.body });
    });
    const { url, dispatcher } = await serve(t, app);
    const post = async (type: string, content: string | Buffer | Readable) => {
      const { statusCode, body } = await request(url, {
        dispatcher,
        method: 'POST',
        body: content,
        headers: { 'content-type': type },
      });
      return [statusCode, statusCode === 200 ? await body.json() : void (await body.dump())];
    };
    t.deepEqual(await post('application/json', '{"a":[1,"ä"]}'), [200, { body: { a: [1, 'ä'] } }]);
    t.deepEqual(await post('application/x-www-form-urlencoded', 'a[b]=c&d=e+f'), [
      200,
      { body: { a: { b: 'c' }, d: 'e f' } },
    ]);
    t.deepEqual(await post('x/raw', Buffer.alloc(70_000)), [200, { bytes: 70_000 }]);
    t.deepEqual(await post('x/raw', Readable.from([Buffer.alloc(50_000), Buffer.alloc(20_000)])), [
      200,
      { bytes: 70_000 },
    ]);
    t.deepEqual(await post('application/json', '{"a":'), [400, undefined]);
    t.deepEqual(await post('x/raw', Buffer.alloc(3_000_000)), [413, undefined]);
  });

  test(`${way}: res.sendFile and express.static: whole files, ranges, validators, HEAD, what is not there`, async (t) => {
    const folder = temporaryFolder(t);
    const content = Buffer.alloc(1_500_000, 'a line of a file\n');
    writeFileSync(join(folder, 'file.txt'), content);
    const app = express();
    app.get('/sent', (_req, res) => res.sendFile('file.txt', { root: folder }));
    app.get('/ours', (_req, res) => sendFile(res, join(folder, 'file.txt')));
    app.use('/static', express.static(folder));
    const { url, dispatcher } = await serve(t, app);
    for (const path of ['/sent', '/static/file.txt', '/ours']) {
      const get = (headers: Record<string, string> = {}, method: 'GET' | 'HEAD' = 'GET') =>
        request(url + path, { dispatcher, headers, method });
      const whole = await get();
      t.is(whole.statusCode, 200);
      t.regex(String(whole.headers['content-type']), /^text\/plain/);
      t.true(Buffer.from(await whole.body.arrayBuffer()).equals(content), path);
      const range = await get({ range: 'bytes=1000000-1000099' });
      t.is(range.statusCode, 206);
      t.is(range.headers['content-range'], 'bytes 1000000-1000099/1500000');
      t.is(await range.body.text(), content.toString('latin1', 1_000_000, 1_000_100));
      const fresh = await get({ 'if-none-match': String(whole.headers.etag) });
      t.is(fresh.statusCode, 304);
      await fresh.body.dump();
      const head = await get({}, 'HEAD');
      t.is(head.headers['content-length'], '1500000');
      await head.body.dump();
      const beyond = await get({ range: 'bytes=9000000-' });
      t.is(beyond.statusCode, 416);
      await beyond.body.dump();
    }
    const missing = await request(`${url}/static/missing.txt`, { dispatcher });
    t.is(missing.statusCode, 404);
    await missing.body.dump();
  });

  test(`${way}: streams, cookies, redirects, errors of asynchronous handlers`, async (t) => {
    const app = express().disable('x-powered-by');
    app.get('/stream', async (_req, res) => {
      await pipeline(Readable.from(['one ', 'two ', 'three']), res);
    });
    app.get('/cookies', (_req, res) => {
      res.cookie('a', '1').cookie('b', '2', { httpOnly: true }).status(202).send('set');
    });
    app.get('/redirect', (_req, res) => res.redirect(301, '/stream'));
    app.get('/failing', async () => {
      throw new Error('on purpose');
    });
    const onError: ErrorRequestHandler = (error, _req, res, _next) =>
      void res.status(503).send(error.message);
    app.use(onError);
    const { url, dispatcher } = await serve(t, app);
    const get = (path: string) => request(url + path, { dispatcher });
    t.is(await (await get('/stream')).body.text(), 'one two three');
    const cookies = await get('/cookies');
    t.is(cookies.statusCode, 202);
    t.deepEqual(cookies.headers['set-cookie'], ['a=1; Path=/', 'b=2; Path=/; HttpOnly']);
    t.is(await cookies.body.text(), 'set');
    const redirect = await get('/redirect');
    t.is(redirect.headers.location, '/stream');
    await redirect.body.dump();
    const failing = await get('/failing');
    t.is(failing.statusCode, 503);
    t.is(await failing.body.text(), 'on purpose');
    const nowhere = await get('/nowhere');
    t.is(nowhere.statusCode, 404);
    await nowhere.body.dump();
  });

  if (way !== 'node:http') {
    test(`${way}: req.ip is the client the web server names; connectionInfo(req) has the rest`, async (t) => {
      const app = express();
      app.get('/', (req, res) => {
        const { client, handover, requestNumber } = connectionInfo(req);
        res.json({ ip: req.ip, client: client.address, handover, requestNumber });
      });
      const { path } = await serve(t, app);
      const handed = await handOver(path as string, {
        kind: way as 'full',
        address: '2001:db8::7',
        headers: { HTTP_CONNECTION: 'close' },
      });
      const received = await handed.readToEnd();
      t.deepEqual(JSON.parse(/\{.*\}/s.exec(received)?.[0] ?? ''), {
        ip: '2001:db8::7',
        client: '2001:db8::7',
        handover: way,
        requestNumber: 1,
      });
    });
  }
}
