// Backends that are down, full, refusing, slow or silent: the client is untouched, goes to the next one, or gets an answer.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createFrontDoor, type FrontDoor, type FrontDoorOptions } from '#runtime/front-door/index.js';
import { native } from '#runtime/native.js';
import { CollectingBackend } from '../helpers/collecting-backend.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

interface Fixture {
  frontDoor: FrontDoor;
  port: number;
  lines: [object, string][];
  handoverErrors: (string | undefined)[];
}

async function start(
  t: ExecutionContext,
  to: string | string[],
  options: Partial<FrontDoorOptions> = {},
): Promise<Fixture> {
  const lines: [object, string][] = [];
  const frontDoor = createFrontDoor({
    listeners: [{ port: 0, to }],
    logger: { warn: (facts, message) => void lines.push([facts, message]) },
    ...options,
  });
  const handoverErrors: (string | undefined)[] = [];
  frontDoor.on('handoverError', (error, client) => {
    handoverErrors.push((error as NodeJS.ErrnoException).code);
    t.is(client?.address, '127.0.0.1');
  });
  t.teardown(() => frontDoor.destroy());
  await frontDoor.listen();
  return { frontDoor, port: frontDoor.addresses()[0]?.port ?? 0, lines, handoverErrors };
}

function temporaryPath(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'fdpass-front-door-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'backend.sock');
}

/** A listening UNIX socket nobody accepts on. */
function silentSocket(t: ExecutionContext, backlog: number): { path: string; fd: number } {
  const path = temporaryPath(t);
  const fd = native().bindUnix(path, 0o600);
  native().listen(fd, backlog);
  t.teardown(() => native().closeFd(fd));
  return { path, fd };
}

const GET = 'GET /a HTTP/1.1\r\nHost: h\r\n\r\n';

async function ask(port: number, request = GET): Promise<string> {
  const client = await RawClient.connect(port);
  await client.send(request);
  return client.readToEnd();
}

test('a backend that is not there: 502, and a log line that says which', async (t) => {
  const path = temporaryPath(t);
  const { frontDoor, port, lines, handoverErrors } = await start(t, `unix:${path}`);
  t.regex(await ask(port), /^HTTP\/1\.1 502 Bad Gateway\r\n/);
  t.deepEqual(handoverErrors, ['FDPASS_ERR_BACKEND_DOWN']);
  t.deepEqual(frontDoor.stats().refused, { FDPASS_ERR_BACKEND_DOWN: 1 });
  t.deepEqual(frontDoor.stats().answered, { 502: 1 });
  t.is(lines.length, 1);
  t.like(lines[0]?.[0], { code: 'FDPASS_ERR_BACKEND_DOWN', backend: `unix:${path}`, cause: 'ENOENT' });
  t.true(lines[0]?.[1].includes(path));
});

test('HEAD gets the head of that answer only', async (t) => {
  const { port } = await start(t, temporaryPath(t));
  t.regex(
    await ask(port, GET.replace('GET', 'HEAD')),
    /^HTTP\/1\.1 502 Bad Gateway\r\n(.+\r\n)*Content-Length: \d+\r\n(.+\r\n)*\r\n$/,
  );
});

test('a backend that refuses, also when it is asked once more: 503, and the client was not touched', async (t) => {
  let refused = 0;
  const backend = await CollectingBackend.listen({
    refuse: () => {
      refused++;
      return true;
    },
  });
  t.teardown(() => backend.close());
  const { port, handoverErrors } = await start(t, backend.path);
  t.regex(await ask(port), /^HTTP\/1\.1 503 /);
  t.is(refused, 2);
  t.deepEqual(handoverErrors, ['FDPASS_ERR_REFUSED']);
});

test('a backend that refuses an upload: its client gets the 503 although it is still sending', async (t) => {
  const backend = await CollectingBackend.listen({ refuse: () => true });
  t.teardown(() => backend.close());
  const { port } = await start(t, backend.path);
  const body = Buffer.alloc(4 * 1024 * 1024, 'x');
  for (let round = 0; round < 10; round++) {
    const client = await RawClient.connect(port);
    const head = `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n`;
    const sent = client.send(Buffer.concat([Buffer.from(head), body]));
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 503 /, `round ${round}`);
    t.is(client.error, undefined);
    await sent;
  }
});

test('a backend whose accept queue is full: 503', async (t) => {
  const { path } = silentSocket(t, 1);
  const held: number[] = [];
  t.throws(
    () => {
      for (;;) held.push(native().connectUnix(path));
    },
    { code: 'EAGAIN' },
  );
  const { port, handoverErrors } = await start(t, path);
  t.regex(await ask(port), /^HTTP\/1\.1 503 /);
  t.deepEqual(handoverErrors, ['FDPASS_ERR_BACKLOG_FULL']);
  for (const fd of held) native().closeFd(fd);
});

test('a backend that does not answer: 504 after sendTimeoutMs', async (t) => {
  const { path } = silentSocket(t, 16);
  const { port, handoverErrors } = await start(t, path, { sendTimeoutMs: 100 });
  t.regex(await ask(port), /^HTTP\/1\.1 504 /);
  t.deepEqual(handoverErrors, ['FDPASS_ERR_ACK_TIMEOUT']);
});

test('a backend that dies with the client in its accept queue: the client goes to the next one', async (t) => {
  const dying = silentSocket(t, 16);
  const backend = await CollectingBackend.listen();
  t.teardown(() => backend.close());
  const { frontDoor, port, handoverErrors } = await start(t, [dying.path, backend.path]);
  const client = await RawClient.connect(port);
  await client.send(GET);
  await until('it waits for the acknowledgement', () => frontDoor.stats().handingOver === 1);
  const accepted = native().accept(dying.fd);
  native().closeFd(accepted);
  const { headers, passedFd } = await backend.next();
  t.is(headers.get('REQUEST_URI'), '/a');
  passedFd.close();
  t.is(await client.readToEnd(), '');
  t.deepEqual(frontDoor.stats().refused, { FDPASS_ERR_REFUSED: 1 });
  t.is(frontDoor.stats().handedOver, 1);
  t.deepEqual(handoverErrors, []);
});

test('of several backends the first one that takes the client gets it, body and all', async (t) => {
  const refusing = await CollectingBackend.listen({ refuse: () => true });
  const backend = await CollectingBackend.listen();
  t.teardown(() => Promise.all([refusing.close(), backend.close()]));
  const { frontDoor, port, handoverErrors } = await start(t, [temporaryPath(t), refusing.path, backend.path]);
  const client = await RawClient.connect(port);
  await client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345');
  const handover = await backend.next();
  t.is(native().readQueueBytes(handover.passedFd.fd), 5);
  handover.passedFd.close();
  await client.readToEnd();
  await until('it is counted', () => frontDoor.stats().handedOver === 1);
  t.deepEqual(frontDoor.stats().refused, { FDPASS_ERR_BACKEND_DOWN: 1, FDPASS_ERR_REFUSED: 1 });
  t.deepEqual(handoverErrors, []);
});

test('when no backend takes the client, the last one decides the answer', async (t) => {
  const refusing = await CollectingBackend.listen({ refuse: () => true });
  t.teardown(() => refusing.close());
  const { port, handoverErrors } = await start(t, [refusing.path, temporaryPath(t)]);
  t.regex(await ask(port), /^HTTP\/1\.1 502 /);
  t.deepEqual(handoverErrors, ['FDPASS_ERR_BACKEND_DOWN']);
});

test('a silent backend does not hold up clients of another one, nor accepting', async (t) => {
  const { path } = silentSocket(t, 64);
  const backend = await CollectingBackend.listen();
  t.teardown(() => backend.close());
  const frontDoor = createFrontDoor({
    listeners: [
      { port: 0, to: path },
      { port: 0, to: backend.path },
    ],
  });
  t.teardown(() => frontDoor.destroy());
  await frontDoor.listen();
  const [slow, fast] = frontDoor.addresses();
  const waiting = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect(slow?.port ?? 0)));
  await Promise.all(waiting.map((client) => client.send(GET)));
  await until('they are offered', () => frontDoor.stats().handingOver === 20);
  const client = await RawClient.connect(fast?.port ?? 0);
  await client.send(GET);
  const { passedFd, headers } = await backend.next();
  t.is(headers.get('SERVER_PORT'), String(fast?.port));
  passedFd.close();
  await client.readToEnd();
  await Promise.all(waiting.map((one) => one.close()));
});

test('destroy() during a handover lets go of client and backend', async (t) => {
  const { path } = silentSocket(t, 16);
  const { frontDoor, port, handoverErrors } = await start(t, [path, path]);
  const client = await RawClient.connect(port);
  await client.send(GET);
  await until('it is offered', () => frontDoor.stats().handingOver === 1);
  await frontDoor.destroy();
  t.is(await client.readToEnd(), '');
  t.deepEqual(handoverErrors, []);
  t.deepEqual(frontDoor.stats().answered, {});
});

test('close() waits for a handover that is under way', async (t) => {
  const { path } = silentSocket(t, 16);
  const { frontDoor, port } = await start(t, path, { sendTimeoutMs: 300 });
  const client = await RawClient.connect(port);
  await client.send(GET);
  await until('it is offered', () => frontDoor.stats().handingOver === 1);
  const closing = frontDoor.close();
  t.regex(await client.readToEnd(), /^HTTP\/1\.1 50[34] /);
  await closing;
});

test('many refusals do not fill the log', async (t) => {
  const { port, lines } = await start(t, temporaryPath(t));
  for (let n = 0; n < 30; n++) await ask(port);
  t.true(lines.length >= 1 && lines.length <= 5, `${lines.length} lines`);
});
