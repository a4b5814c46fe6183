// openLogtail() on a real server: one line for each request and each upgraded connection, whatever way it was answered.
import { type Logtail, type LogtailOptions, openLogtail } from '@fdpass/backend-runtime';
import type { HandoverKind } from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { type Collector, udpCollector } from '../helpers/collector.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { type Handler, type Served, serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const KINDS: readonly HandoverKind[] = ['full', 'partial', 'relay'];
const SCOPE = { keepAlive: { scope: '/' } };
const later = (target: string, more = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: example.test\r\n${more}\r\n`;

interface Logged extends Omit<Served, 'lines'> {
  readonly tail: Logtail;
  readonly collector: Collector;
  /** Resolves with the lines when there are `count`, and counted. */
  lines(count: number): Promise<string[]>;
}

async function start(
  t: ExecutionContext,
  options: Partial<LogtailOptions>,
  handler?: Handler,
  serverOptions: Parameters<typeof serve>[1] = SCOPE,
): Promise<Logged> {
  const collector = await udpCollector(t);
  const tail = await openLogtail({ to: collector.to, flushIntervalMs: 100, ...options });
  t.teardown(() => tail.close());
  const served = await serve(t, serverOptions, handler);
  served.server.use(tail);
  const lines = async (count: number): Promise<string[]> => {
    await until(`${count} lines`, () => {
      tail.flush();
      return collector.lines.length >= count && tail.lines.sent >= count;
    });
    return collector.lines;
  };
  return { ...served, tail, collector, lines };
}

const FORMAT =
  '$remote_addr $remote_port $handover $connection_requests "$request" $status $body_bytes_sent $host $scheme "$http_user_agent"';

for (const kind of KINDS) {
  test(`${kind}: a line for a request`, async (t) => {
    const { path, lines } = await start(t, { format: FORMAT }, (_request, response) => {
      response.statusCode = 201;
      response.end('twelve bytes');
    });
    const headers = { HTTP_USER_AGENT: 'say "hi"', SERVER_NAME: 'app.test' };
    await (
      await handOver(path, { kind, target: '/a?b=1', headers: { ...headers, HTTP_CONNECTION: 'close' } })
    ).readToEnd();
    t.deepEqual(await lines(1), [
      `192.0.2.7 4711 ${kind} 1 "GET /a?b=1 HTTP/1.1" 201 12 example.test http "say \\x22hi\\x22"`,
    ]);
  });
}

for (const kind of ['full', 'partial'] as const) {
  test(`${kind}: an upgraded connection has one line, at its end, with the bytes both ways`, async (t) => {
    const format = '$request_method $uri $status $body_bytes_sent $bytes_sent $handover $sent_http_x_kind';
    const { path, server, lines, tail, collector } = await start(t, { format });
    const head = 'HTTP/1.1 101 Switching Protocols\r\nX-Kind: chat\r\n\r\n';
    server.on('upgrade', (_request, socket) => {
      socket.write(head);
      socket.write('hello');
      socket.once('data', () => socket.end(' and bye'));
    });
    const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
    const client = await handOver(path, { kind, target: '/chat', headers });
    await client.readUntil('hello');
    tail.flush();
    t.deepEqual(collector.lines, []);
    await client.send('me too');
    await client.readToEnd();
    t.deepEqual(await lines(1), [`GET /chat 101 13 ${head.length + 13} ${kind} chat`]);
  });
}

test('a refused upgrade has the status that the application wrote', async (t) => {
  const { path, server, lines } = await start(t, { format: '$status $body_bytes_sent $request_uri' });
  server.on('upgrade', (request, socket) => {
    socket.end(
      request.url === '/1'
        ? 'HTTP/1.1 401 Unauthorized\r\n\r\n'
        : Buffer.from('HTTP/1.1 403 Forbidden\r\n\r\nno'),
    );
    socket.resume();
  });
  const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
  await (await handOver(path, { target: '/1', headers })).readToEnd();
  await (await handOver(path, { target: '/2', headers })).readToEnd();
  t.deepEqual(await lines(2), ['401 0 /1', '403 2 /2']);
});

test('an upgrade that a guard refuses has its status, in each of several logs', async (t) => {
  const format = '$status $request_uri';
  const { path, server, lines } = await start(t, { format });
  const other = await udpCollector(t);
  const second = await openLogtail({ to: other.to, format });
  t.teardown(() => second.close());
  server.use(second, (handover, next) => {
    handover.guard(() => 429);
    next();
  });
  server.on('upgrade', () => t.fail());
  const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
  await (await handOver(path, { target: '/chat', headers })).readToEnd();
  t.deepEqual(await lines(1), ['429 /chat']);
  second.flush();
  t.deepEqual(await other.wait(1), ['429 /chat']);
});

test('a head in pieces is one, and the socket is left as it was', async (t) => {
  const { path, server, lines } = await start(t, { format: '$status $body_bytes_sent $sent_http_x_kind' });
  server.on('upgrade', (_request, socket) => {
    for (const piece of ['HTTP/1.1 1', '01 Switching Protocols\r\nX-Kind: a\r\n', '\r', '\nbody'])
      socket.write(piece);
    t.false(Object.hasOwn(socket, 'write'));
    t.false(Object.hasOwn(socket, 'end'));
    socket.end();
    socket.resume();
  });
  const headers = { HTTP_CONNECTION: 'Upgrade', HTTP_UPGRADE: 'websocket' };
  await (await handOver(path, { target: '/chat', headers })).readToEnd();
  t.deepEqual(await lines(1), ['101 4 a']);
});

test('a relay has the protocol its client spoke', async (t) => {
  const { path, lines } = await start(t, { format: '$server_protocol "$request"' });
  const headers = { SERVER_PROTOCOL: 'HTTP/2.0' };
  await (await handOver(path, { kind: 'relay', target: '/a', headers })).readToEnd();
  t.deepEqual(await lines(1), ['HTTP/2.0 "GET /a HTTP/2.0"']);
});

test('a closed server sends what waits', async (t) => {
  const { path, server, collector } = await start(t, { format: '$request_uri', flushIntervalMs: 60_000 });
  await (await handOver(path, { target: '/last', headers: { HTTP_CONNECTION: 'close' } })).readToEnd();
  server.close();
  t.deepEqual(await collector.wait(1), ['/last']);
});

test('a predicate asks what only an open connection can tell', async (t) => {
  const { path, lines } = await start(t, { format: '$request_uri', if: '$ingress_interface$tcpinfo_rtt' });
  const headers = { HTTP_CONNECTION: 'close' };
  await (await handOver(path, { kind: 'relay', target: '/relay', headers })).readToEnd();
  await (await handOver(path, { target: '/full', headers })).readToEnd();
  t.deepEqual(await lines(1), ['/full']);
});

for (const lean of [true, false]) {
  const title = lean ? 'answers without a socket' : 'answers with one';

  test(`${title}: each request of a kept connection has its line`, async (t) => {
    const format =
      '$connection $connection_requests $request_uri $status $body_bytes_sent $sent_http_content_length';
    const { path, lines } = await start(t, { format }, (request, response) => response.end(request.url), {
      ...SCOPE,
      lean,
    });
    const client = await handOver(path, { target: '/1' });
    await client.readUntil('/1');
    for (const target of ['/two', '/three']) {
      await client.send(later(target));
      await client.readUntil(`\r\n${target}`);
    }
    t.deepEqual(await lines(3), ['1 1 /1 200 2 2', '1 2 /two 200 4 4', '1 3 /three 200 6 6']);
    await client.close();
  });

  test(`${title}: pipelined requests have their lines in their order, with their own numbers`, async (t) => {
    const format = '$connection_requests $request_uri $status';
    const { path, lines } = await start(t, { format }, (request, response) => response.end(request.url), {
      ...SCOPE,
      lean,
    });
    const targets = Array.from({ length: 20 }, (_, nth) => `/${nth + 2}`);
    const client = await handOver(path, {
      target: '/1',
      earlyBytes: targets.map((target) => later(target)).join(''),
    });
    t.deepEqual(
      await lines(21),
      ['/1', ...targets].map((target) => `${target.slice(1)} ${target} 200`),
    );
    await client.close();
  });

  test(`${title}: a client that leaves before its answer is a 499`, async (t) => {
    const { path, lines, errors } = await start(
      t,
      { format: '$status $body_bytes_sent $request_uri' },
      () => {},
      { ...SCOPE, lean },
    );
    const client = await handOver(path, { target: '/held' });
    await client.close();
    t.deepEqual(await lines(1), ['499 0 /held']);
    t.deepEqual(errors, []);
  });

  test(`${title}: what the kernel says of the connection`, async (t) => {
    const format =
      '$tcpinfo_rtt $tcpinfo_rttvar $tcpinfo_snd_cwnd $tcpinfo_rcv_space $server_addr $server_port $ingress_interface $source_tag';
    const { path, lines } = await start(t, { format }, undefined, { ...SCOPE, lean });
    await (await handOver(path, { headers: { HTTP_CONNECTION: 'close' } })).readToEnd();
    t.regex((await lines(1))[0] ?? '', /^\d+ \d+ [1-9]\d* [1-9]\d* 127\.0\.0\.1 \d+ lo -$/);
  });
}

test('an answer that becomes a socket on its way is one line', async (t) => {
  const { path, lines, tail } = await start(
    t,
    { format: '$status $body_bytes_sent $request_uri' },
    (request, response) => {
      // Whoever listens to the socket makes it one.
      request.socket.on('timeout', () => {});
      response.write('first ');
      setImmediate(() => response.end('last'));
    },
  );
  const client = await handOver(path, { target: '/a' });
  await client.readUntil('last');
  await client.send(later('/b'));
  t.deepEqual(await lines(2), ['200 10 /a', '200 10 /b']);
  t.is(tail.lines.sent, 2);
  await client.close();
});

test('the bytes of a request: its head as it was sent, and its body', async (t) => {
  const { path, lines } = await start(
    t,
    { format: '$request_length $request_method' },
    (request, response) => {
      request.resume().on('end', () => response.end());
    },
  );
  const client = await handOver(path, { target: '/1' });
  await client.readUntil('\r\n\r\n');
  const post = 'POST /2 HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\nhello';
  await client.send(post);
  t.is((await lines(2))[1], `${post.length} POST`);
  await client.close();
});

test('a request outside of the scope is logged with its 421', async (t) => {
  const { path, lines } = await start(t, { format: '$status $request_uri' }, undefined, {
    keepAlive: { scope: '/app' },
  });
  const client = await handOver(path, { target: '/app' });
  await client.readUntil('served');
  await client.send(later('/admin'));
  await client.readToEnd();
  t.deepEqual(await lines(2), ['200 /app', '421 /admin']);
});

test('a predicate as a function decides before the line is made', async (t) => {
  const { path, lines, tail } = await start(t, {
    format: '$request_uri',
    if: ({ status, request, durationMs, responseBytes }) =>
      status === 200 && durationMs >= 0 && responseBytes === 6 && request.url !== '/quiet',
  });
  for (const target of ['/quiet', '/loud']) {
    await (await handOver(path, { target, headers: { HTTP_CONNECTION: 'close' } })).readToEnd();
  }
  t.deepEqual(await lines(1), ['/loud']);
  t.deepEqual(tail.lines, { sent: 1, dropped_full: 0, dropped_error: 0, dropped_too_long: 0 });
});

test('a predicate as nginx has it: empty and "0" are no', async (t) => {
  const { path, lines } = await start(t, { format: '$request_uri', if: '$arg_log' });
  for (const target of ['/1', '/2?log=', '/3?log=0', '/4?log=1', '/5?log=00']) {
    await (await handOver(path, { target, headers: { HTTP_CONNECTION: 'close' } })).readToEnd();
  }
  t.deepEqual(await lines(2), ['/4?log=1', '/5?log=00']);
});

test.serial('a predicate that throws costs the line, and not the request', async (t) => {
  const warned: string[] = [];
  const onWarning = (warning: Error): void => void warned.push(warning.message);
  process.on('warning', onWarning);
  t.teardown(() => process.off('warning', onWarning));
  const { path, tail } = await start(t, {
    if: () => {
      throw new Error('a mistake');
    },
  });
  for (let nth = 0; nth < 3; nth++) {
    t.regex(await (await handOver(path, { headers: { HTTP_CONNECTION: 'close' } })).readToEnd(), /served$/);
  }
  await until('the lines are counted', () => tail.lines.dropped_error === 3);
  t.deepEqual(warned, ['No line for a request: Error: a mistake']);
});

test("the id of a request is the web server's, or a new one in the form of nginx's", async (t) => {
  const { path, lines } = await start(t, { format: '$request_id $request_id' });
  const close = { HTTP_CONNECTION: 'close' };
  await (await handOver(path, { headers: { ...close, REQUEST_ID: 'abc' } })).readToEnd();
  await (await handOver(path, { headers: close })).readToEnd();
  await (await handOver(path, { headers: close })).readToEnd();
  const [first, second, third] = await lines(3);
  t.is(first, 'abc abc');
  t.regex(second ?? '', /^([0-9a-f]{32}) \1$/);
  t.regex(third ?? '', /^([0-9a-f]{32}) \1$/);
  t.not(second, third);
});

test('10,000 lines arrive, in datagrams of whole lines', async (t) => {
  const { path, lines, tail, collector } = await start(t, {
    format: '$connection $connection_requests $request_uri $http_user_agent',
  });
  const clients = await Promise.all(Array.from({ length: 10 }, () => handOver(path, { target: '/0' })));
  for (let round = 0; round < 9; round++) {
    const bytes = Array.from({ length: 111 }, (_, nth) => later(`/${round}-${nth}`)).join('');
    await Promise.all(clients.map((client) => client.send(bytes)));
    await lines(10 + (round + 1) * 1110);
  }
  const all = await lines(10_000);
  t.is(all.length, 10_000);
  t.is(new Set(all).size, 10_000);
  t.deepEqual(tail.lines, { sent: 10_000, dropped_full: 0, dropped_error: 0, dropped_too_long: 0 });
  t.true(collector.datagrams.length < 1000);
  for (const datagram of collector.datagrams) t.true(datagram.endsWith('\n'));
  for (const client of clients) await client.close();
});

test('closing sends what waits; later lines are counted', async (t) => {
  const { path, tail, collector } = await start(t, { format: '$request_uri', flushIntervalMs: 60_000 });
  const close = { HTTP_CONNECTION: 'close' };
  await (await handOver(path, { target: '/before', headers: close })).readToEnd();
  await tail.close();
  await tail.close();
  t.deepEqual(await collector.wait(1), ['/before']);
  await (await handOver(path, { target: '/after', headers: close })).readToEnd();
  await until('it is counted', () => tail.lines.dropped_error === 1);
  t.deepEqual(collector.lines, ['/before']);
});

test('nobody has to ask: lines leave after the interval', async (t) => {
  const { path, collector } = await start(t, { format: '$request_uri' });
  for (const target of ['/1', '/2']) {
    await (await handOver(path, { target, headers: { HTTP_CONNECTION: 'close' } })).readToEnd();
    await collector.wait(Number(target.slice(1)));
  }
  t.deepEqual(collector.lines, ['/1', '/2']);
});
