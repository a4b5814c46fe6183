// What a client sends behind its last request costs no more than reading it: it is not parsed, does not stop the answers that
// are still due, and a client that resets meanwhile harms nobody.
import { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { type Handler, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS = ['full', 'partial'] as const;
const UPGRADE = 'GET /ws HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
/** 100 KB. */
const MANY_REQUESTS = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(4000);
/** More than fit into the buffers of a socket: a parser would have to take some of them. */
const ROUNDS = 200;

/** Counts the request heads that are parsed. */
function countingRequests() {
  let parsed = 0;
  class CountedRequest extends IncomingMessage {
    constructor(...args: ConstructorParameters<typeof IncomingMessage>) {
      super(...args);
      parsed++;
    }
  }
  return { IncomingMessage: CountedRequest, parsed: () => parsed };
}

for (const kind of KINDS) {
  test(`${kind}: requests behind an answer that is still due are read, and not parsed`, async (t) => {
    const { parsed, ...options } = countingRequests();
    let release = (): void => {};
    const { path } = await serve(t, options, (_request, response) => {
      release = () => response.end('first');
    });
    const client = await handOver(path, { kind });
    for (let round = 0; round < ROUNDS; round++) await client.send(MANY_REQUESTS);
    t.true(parsed() < 10_000, `${parsed()} parsed`);
    release();
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 200 OK\r\n(.+\r\n)+\r\nfirst$/);
  });

  test(`${kind}: requests that come while the connection lingers are read, and not parsed`, async (t) => {
    const { parsed, ...options } = countingRequests();
    const { path } = await serve(t, { ...options, keepAlive: { scope: '/app/' } });
    const client = await handOver(path, { kind, target: '/app/' });
    await client.readUntil('served');
    await client.send('GET /elsewhere HTTP/1.1\r\nHost: example.test\r\nContent-Length: 1\r\n\r\n');
    await client.readUntil('421');
    await client.send('x');
    for (let round = 0; round < ROUNDS; round++) await client.send(MANY_REQUESTS);
    t.true(parsed() < 10_000, `${parsed()} parsed`);
    await client.readToEnd();
    t.is(client.answer.error, undefined);
  });

  test(`${kind}: a request that comes while the connection lingers does not reach the handler`, async (t) => {
    const seen: string[] = [];
    const { path } = await serve(t, { keepAlive: { scope: '/' } }, (request, response) => {
      seen.push(request.url ?? '');
      response.setHeader('Connection', 'close').end('early');
    });
    const client = await handOver(path, { kind, method: 'POST', headers: { HTTP_CONTENT_LENGTH: '4' } });
    await client.readUntil('early');
    await client.send('bodyGET /second HTTP/1.1\r\nHost: example.test\r\n\r\n');
    await client.readToEnd();
    t.deepEqual(seen, ['/']);
  });

  test(`${kind}: an upgrade that is refused, and a client that resets then`, async (t) => {
    const { path, server } = await serve(t, { keepAlive: { scope: '/app/' } });
    server.on('upgrade', () => t.fail());
    const client = await handOver(path, { kind, target: '/app/' });
    await client.readUntil('served');
    await client.send(UPGRADE);
    await client.readUntil('421');
    client.answer.socket.resetAndDestroy();
    // An error that nobody listens to would end this process.
    await client.close();
    await until('the connection is closed', () => server.stats().connections === 0);
    t.pass();
  });

  test(`${kind}: an upgrade that is ignored, and a client that resets before its answer`, async (t) => {
    const { path, server } = await serve(t, {}, () => {});
    server.on('upgrade', () => t.fail());
    const client = await handOver(path, { kind, earlyBytes: UPGRADE });
    await until('the request is there', () => server.stats().connections === 1);
    client.answer.socket.resetAndDestroy();
    await client.close();
    await until('the connection is closed', () => server.stats().connections === 0);
    t.pass();
  });

  test(`${kind}: an upgrade behind an answer that is still due does not overtake it, and is not served`, async (t) => {
    let release = (): void => {};
    const { path, server } = await serve(t, { keepAlive: { scope: '/' } }, (_request, response) => {
      release = () => response.end('first');
    });
    server.on('upgrade', () => t.fail());
    const client = await handOver(path, { kind, earlyBytes: UPGRADE });
    await until('the request is there', () => server.stats().connections === 1);
    await nextTurn();
    release();
    t.regex(
      await client.readToEnd(),
      /^HTTP\/1\.1 200 OK\r\n(?:.+\r\n)*Connection: close\r\n(?:.+\r\n)*\r\nfirst$/,
    );
  });

  test(`${kind}: an upgrade behind a large answer does not stop it`, async (t) => {
    const chunk = Buffer.alloc(100_000, 'x');
    const streaming: Handler = (_request, response) => {
      let left = 200;
      const write = (): void => {
        while (left > 0) {
          left--;
          if (!response.write(chunk)) return void response.once('drain', write);
        }
        response.end('the end');
      };
      setImmediate(write);
    };
    const { path, server } = await serve(t, {}, streaming);
    server.on('upgrade', () => t.fail());
    const client = await handOver(path, { kind, earlyBytes: UPGRADE });
    t.regex(await client.readToEnd(), /\r\nthe end\r\n0\r\n\r\n$/);
    t.true(client.received.length > 200 * chunk.length);
  });

  test(`${kind}: a handler that stops reading a body it has answered does not stop the draining`, async (t) => {
    const { path } = await serve(
      t,
      { lingeringTimeoutMs: 100_000, lingeringTimeMs: 100_000 },
      (request, response) => {
        request.once('data', () => {
          request.pause();
          response.writeHead(413).end('too large');
        });
      },
    );
    const body = Buffer.alloc(20_000_000, 'x');
    const client = await handOver(path, {
      kind,
      method: 'POST',
      headers: { HTTP_CONTENT_LENGTH: String(body.length) },
    });
    await client.send(body);
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 413 /);
    t.is(client.answer.error, undefined);
  });
}
