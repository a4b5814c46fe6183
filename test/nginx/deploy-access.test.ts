// The configurations of deploy/nginx that let some requests in and others not: what nginx denies reaches no handler, by no way, and
// what the comments warn of is shown to be true.
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { exchange } from '../helpers/answer-reader.js';
import { type CurlAnswer, curl } from '../helpers/curl.js';
import { type Deployed, type DeployedOptions, deployed, type Seen, seen } from '../helpers/deployed.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { needs, program } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule, program('curl'));

const SECRET = 'what only those who are let in may read';
const urlOf = ({ url }: Deployed): string => url(80);

/** The authentication service: answers what the test sets. */
interface Authentication {
  status: number;
  asked: number;
}

async function guarded(
  t: ExecutionContext,
  options: DeployedOptions = {},
): Promise<Deployed & { auth: Authentication }> {
  const auth: Authentication = { status: 204, asked: 0 };
  const service: Server = createServer((request, response) => {
    auth.asked++;
    const user = request.headers['x-original-uri'] === '/' ? 'ada' : '';
    response.writeHead(auth.status, { 'X-User': user }).end();
  });
  const front = await deployed(t, 'guarded.conf', {
    backends: {
      'app.sock': {
        handler: (request, response) => response.end(JSON.stringify({ ...seen(request), SECRET })),
      },
    },
    ...options,
  });
  const path = join(front.folder, 'auth.sock');
  service.listen(path);
  await once(service, 'listening');
  chmodSync(path, 0o666);
  t.teardown(async () => {
    const closed = once(service, 'close');
    service.close();
    service.closeAllConnections();
    await closed;
  });
  return { ...front, auth };
}

const WAYS = { 'to be handed over': '--http1.1', 'to be relayed': '--http1.0' } as const;

for (const [way, option] of Object.entries(WAYS)) {
  withNginx(`guarded: a request ${way} is let in once, with the user's name`, async (t) => {
    const front = await guarded(t);
    const answer = await curl(urlOf(front), option, '-H', 'Remote-User: root', '-H', 'REMOTE_USER: root');
    t.is(answer.status, 200);
    const { handover, variables }: Seen = JSON.parse(answer.body);
    t.is(handover, option === '--http1.1' ? 'full' : 'relay');
    t.is(variables.REMOTE_USER, 'ada');
    t.is(front.auth.asked, 1);
  });

  // 500: the service is broken. nginx answers so for every status that is neither 2xx, 401 nor 403.
  for (const [status, expected] of [
    [401, 401],
    [403, 403],
    [503, 500],
  ] as const) {
    withNginx(`guarded: a request ${way} gets ${expected} when the service answers ${status}`, async (t) => {
      const front = await guarded(t);
      front.auth.status = status;
      const answer = await curl(urlOf(front), option);
      t.is(answer.status, expected);
      t.false(answer.body.includes(SECRET));
      t.deepEqual(front.reached, []);
    });
  }

  withNginx(`guarded: of many requests ${way} at once, limit_req lets few in`, async (t) => {
    const front = await guarded(t);
    const answers = await many(front, option);
    const served = answers.filter(({ status }) => status === 200);
    const denied = answers.filter(({ status }) => status === 503);
    t.is(served.length + denied.length, answers.length);
    t.true(denied.length > 0);
    for (const { body } of denied) t.false(body.includes(SECRET));
    t.is(front.reached.length, served.length);
  });
}

/** Forty, eight at a time: far more than ten in a second. */
async function many(front: Deployed, option: string): Promise<CurlAnswer[]> {
  const answers: CurlAnswer[] = [];
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let sent = 0; sent < 5; sent++) answers.push(await curl(urlOf(front), option));
    }),
  );
  return answers;
}

withNginx('guarded: an address that is denied gets 403', async (t) => {
  const front = await guarded(t, {
    edit: (text) => text.replace('deny         192.0.2.0/24', 'deny         127.0.0.0/8'),
  });
  for (const option of Object.values(WAYS)) t.is((await curl(urlOf(front), option)).status, 403);
  t.deepEqual(front.reached, []);
});

// What the comments and SECURITY.md warn of. Should nginx ever behave otherwise, they can be milder.
const mapped = (text: string): string =>
  text.replace(/^( *)fd_pass_fallback @relay;$/m, '$1error_page 500 503 505 = @relay;');

withNginx('guarded: an error_page for 500 and 503 instead would serve what was denied', async (t) => {
  const front = await guarded(t, { edit: mapped });
  front.auth.status = 503;
  const answer = await curl(urlOf(front));
  t.is(answer.status, 200);
  t.true(answer.body.includes(SECRET));

  front.auth.status = 204;
  const answers = await many(front, '--http1.1');
  t.true(answers.every(({ status, body }) => status === 200 && body.includes(SECRET)));
});

const scoped = { backends: { 'app.sock': { options: { keepAlive: { scope: '/app/' } } } } };
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: private.example.test\r\n\r\n`;

async function clientOf({ at }: Deployed): Promise<RawClient> {
  const { host, port } = at(80);
  return RawClient.connect(port, host);
}

withNginx('private: each part on a connection of its own is as nginx judges it', async (t) => {
  const front = await deployed(t, 'private.conf', scoped);
  for (const [path, status] of [
    ['/app/', 200],
    ['/private/', 403],
    ['/internal/legacy', 404],
    ['/legacy', 200],
    ['/elsewhere', 404],
  ] as const) {
    t.is((await curl(urlOf(front) + path)).status, status, path);
  }
  t.deepEqual(front.reached, ['app.sock /app/', 'app.sock /legacy']);
});

for (const path of ['/private/', '/internal/legacy', '/app/../private/', '/app/%2e%2e/private/']) {
  withNginx(`private: on a connection handed over for /app/, ${path} gets 421 and no handler`, async (t) => {
    const front = await deployed(t, 'private.conf', scoped);
    const client = await clientOf(front);
    for (const within of ['/app/', '/app/more']) t.is((await exchange(client, get(within))).status, 200);
    const { status, headers } = await exchange(client, get(path));
    t.is(status, 421);
    t.is(headers.connection, 'close');
    await client.readToEnd();
    t.deepEqual(front.reached, ['app.sock /app/', 'app.sock /app/more']);
  });
}

withNginx('private: AREA tells the handler which location let the connection in', async (t) => {
  const front = await deployed(t, 'private.conf', {
    ...scoped,
    edit: (text) => text.replace('allow 10.0.0.0/8', 'allow 127.0.0.0/8'),
  });
  const area = async (path: string): Promise<string | undefined> =>
    (JSON.parse((await curl(urlOf(front) + path, '-H', 'AREA: private')).body) as Seen).variables.AREA;
  t.is(await area('/app/'), undefined);
  t.is(await area('/private/'), 'private');
  t.is(await area('/legacy'), 'internal');
  t.is((await curl(`${urlOf(front)}/legacy`)).body.includes('"url":"/legacy"'), true);
});

withNginx('private: a stricter location inside of the scope stops nobody who is in already', async (t) => {
  const front = await deployed(t, 'private.conf', {
    ...scoped,
    edit: (text) => text.replace('location /app/ {', 'location /app/admin/ { deny all; }\n location /app/ {'),
  });
  t.is((await curl(`${urlOf(front)}/app/admin/`)).status, 403);
  const client = await clientOf(front);
  t.is((await exchange(client, get('/app/'))).status, 200);
  t.is((await exchange(client, get('/app/admin/'))).status, 200);
  await client.close();
});

withNginx('private: without a scope every answer ends its connection', async (t) => {
  const front = await deployed(t, 'private.conf');
  const client = await clientOf(front);
  t.is((await exchange(client, get('/app/'))).headers.connection, 'close');
  await client.readToEnd();
});
