// Connections without a socket and a parser: what their clients do, and what their server does with them, comes to the same as with one.
import { AsyncLocalStorage } from 'node:async_hooks';
import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { connectionInfo, limitClients } from '@fdpass/backend-runtime';
import test from 'ava';
import { WebSocketServer } from 'ws';
import { guardDescriptors } from '../helpers/descriptors.js';
import type { HandedClient } from '../helpers/hand-over.js';
import { Held } from '../helpers/held-responses.js';
import {
  bothWays,
  hasNoSocket,
  LAST,
  note,
  request,
  type Scene,
  withoutDate,
} from '../helpers/lean-scene.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

/** Answers each request with its method and target; its events are noted. */
function noting(scene: Scene, answer: (request: IncomingMessage, response: ServerResponse) => unknown): void {
  scene.handler = (request, response) => {
    scene.seen.push(`request ${request.method} ${request.url}`);
    response.on('close', () => scene.seen.push(`close ${request.url} ${response.writableFinished}`));
    return answer(request, response);
  };
}

const echo = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  let body = '';
  for await (const chunk of request) body += chunk;
  response.end(`${request.method} ${request.url} ${body};`);
};

/** An answer on the connection, before anything else is sent on it. */
async function answered(scene: Scene, client: HandedClient, target: string): Promise<void> {
  await client.readUntil(target);
  await scene.saw(`close ${target}`);
}

const POST = `${request('/post', 'Content-Length: 4\r\n', 'POST')}body`;
const CHUNKED = `${request('/chunked', 'Transfer-Encoding: chunked\r\n', 'POST')}4\r\nbody\r\n0\r\n\r\n`;

/** What a client sends behind its first request: pieces, each when the server has the one before. */
const behind: Record<string, readonly string[]> = {
  'a request': [request('/second')],
  'three requests at once': [request('/second') + request('/third') + request('/fourth')],
  'a request and half of one': [
    request('/second') + request('/third').slice(0, 20),
    request('/third').slice(20),
  ],
  'a request in two pieces': [request('/second').slice(0, 8), request('/second').slice(8)],
  'a request whose end comes later': [request('/second').slice(0, -2), '\r\n'],
  'a body': [POST],
  'a body that comes later': [POST.slice(0, -4), 'body'],
  'a body in chunks': [CHUNKED],
  'a body, and a request behind it': [POST + request('/third')],
  'a request, and a body behind it': [request('/second') + POST],
  HEAD: [request('/second', '', 'HEAD')],
  OPTIONS: [request('*', '', 'OPTIONS')],
  'HTTP/1.0': ['GET /second HTTP/1.0\r\nHost: example.test\r\n\r\n'],
  'an expectation': [request('/second', 'Expect: 100-continue\r\n', 'POST')],
  'a long head': [request('/second', `X-Long: ${'x'.repeat(30_000)}\r\n`)],
  'a head that is too long': [request('/second', `X-Long: ${'x'.repeat(80_000)}\r\n`)],
  'no request': ['nonsense\r\n\r\n'],
  'a head without Host': ['GET /second HTTP/1.1\r\n\r\n'],
  'two Hosts': [request('/second', 'Host: example.test\r\n')],
  'another Host': ['GET /second HTTP/1.1\r\nHost: other.test\r\n\r\n'],
  'an empty line first': [`\r\n${request('/second')}`],
  'a bare LF': ['GET /second HTTP/1.1\nHost: example.test\n\n'],
  'an upgrade that nobody takes': [request('/second', 'Connection: Upgrade\r\nUpgrade: other\r\n')],
  'a request that is smuggled': [
    request('/second', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', 'POST'),
  ],
};

for (const [what, pieces] of Object.entries(behind)) {
  bothWays(test, `behind the first request: ${what}`, async (scene) => {
    noting(scene, echo);
    const client = await scene.hand('/first');
    await answered(scene, client, '/first');
    for (const piece of pieces) {
      await client.send(piece);
      await scene.settled(client);
    }
    client.end();
    return withoutDate(await client.readToEnd());
  });

  bothWays(test, `while the first request is answered: ${what}`, async (scene) => {
    let first: ServerResponse | undefined;
    noting(scene, (request, response) => {
      if (request.url === '/first') first = response;
      else void echo(request, response);
    });
    const client = await scene.hand('/first');
    await scene.saw('request GET /first');
    for (const piece of pieces) {
      await client.send(piece);
      await scene.settled(client);
    }
    first?.end('/first;');
    await scene.saw('close /first');
    await scene.settled(client);
    client.end();
    return withoutDate(await client.readToEnd());
  });
}

for (const count of [2, 10]) {
  bothWays(test, `${count} requests one after the other`, async (scene) => {
    noting(scene, echo);
    const client = await scene.hand('/0;');
    for (let at = 1; at < count; at++) {
      await answered(scene, client, `/${at - 1};`);
      await client.send(request(`/${at};`));
    }
    await answered(scene, client, `/${count - 1};`);
    await client.send(LAST);
    return withoutDate(await client.readToEnd());
  });
}

/** What a client does while its answer is awaited, or in the middle of it. */
const leaving: Record<string, (client: HandedClient) => unknown> = {
  leaves: (client) => client.close(),
  resets: ({ answer }) => answer.socket.resetAndDestroy(),
};

for (const [what, leave] of Object.entries(leaving)) {
  for (const listened of [false, true]) {
    for (const begun of [false, true]) {
      const when = begun ? 'in the middle of its answer' : 'while its answer is awaited';
      bothWays(test, `a client ${what} ${when}${listened ? ', which is listened to' : ''}`, async (scene) => {
        scene.handler = (request, response) => {
          note(scene, request, response, listened);
          if (begun) response.write('begun');
          scene.seen.push('waiting');
        };
        const client = await scene.hand('/x');
        await scene.saw('waiting');
        if (begun) await client.readUntil('begun');
        // In the next turn it is watched.
        await scene.settled(client);
        await leave(client);
        await scene.saw('response close');
        await until('its connection is gone', () => scene.server.stats().connections === 0);
      });
    }
  }

  bothWays(test, `a client ${what} behind its answer`, async (scene) => {
    noting(scene, echo);
    const client = await scene.hand('/x');
    await answered(scene, client, '/x');
    await leave(client);
    await until('its connection is gone', () => scene.server.stats().connections === 0);
  });

  bothWays(test, `a client ${what}, and is answered all the same`, async (scene) => {
    const held = new Held();
    noting(scene, (request, response) => held.handler(request, response));
    const client = await scene.hand('/x');
    const response = await held.next();
    await leave(client);
    response.end('to nobody');
    await scene.saw('close /x');
    await until('its connection is gone', () => scene.server.stats().connections === 0);
    scene.seen.length = 0;
  });
}

bothWays(test, 'a client says its last while its answer is awaited', async (scene) => {
  const held = new Held();
  noting(scene, (request, response) => held.handler(request, response));
  const client = await scene.hand('/x');
  const response = await held.next();
  // It is watched from the next turn on.
  await scene.settled(client);
  client.end();
  await scene.saw('close /x false');
  response.end('late');
  return withoutDate(await client.readToEnd());
});

for (const kept of [true, false]) {
  bothWays(
    test,
    `20 MB to a client that reads late, the connection is ${kept ? 'kept' : 'not kept'}`,
    async (scene) => {
      const body = Buffer.alloc(20 << 20, 'abcdefg');
      scene.handler = (_request, response) => response.end(body);
      const client = await scene.hand('/x');
      client.answer.socket.pause();
      await scene.settled(client);
      client.answer.socket.resume();
      await until('all of it is there', () => client.received.length > body.length);
      if (kept) client.end();
      const received = await client.readToEnd();
      return [received.length, received.endsWith(body.toString('latin1', body.length - 1000))];
    },
    { options: { keepAlive: kept ? { scope: '/' } : false } },
  );
}

bothWays(test, 'an upgrade behind the first request', async (scene) => {
  scene.server.on('upgrade', (_request, socket: Socket, head: Buffer) => {
    scene.seen.push(`upgrade ${head}`);
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello');
  });
  noting(scene, echo);
  const client = await scene.hand('/first');
  await answered(scene, client, '/first');
  await client.send(`${request('/up', 'Connection: Upgrade\r\nUpgrade: x\r\n')}early`);
  return withoutDate(await client.readToEnd());
});

bothWays(test, 'a WebSocket behind the first request', async (scene) => {
  const sockets = new WebSocketServer({ server: scene.server });
  sockets.on('connection', (socket) => {
    socket.send('hello');
    socket.on('message', (data) => socket.send(`${data}!`));
  });
  noting(scene, echo);
  const client = await scene.hand('/first');
  await answered(scene, client, '/first');
  const fields =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n';
  await client.send(request('/ws', fields));
  await client.readUntil('hello');
  // "hi", masked by zeros, and a close.
  await client.send(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69, 0x88, 0x80, 0, 0, 0, 0]));
  const received = await client.readToEnd();
  sockets.close();
  return withoutDate(received);
});

bothWays(
  test,
  'outside of the keep-alive scope it is 421',
  async (scene) => {
    noting(scene, echo);
    const client = await scene.hand('/app/first');
    await answered(scene, client, '/app/first');
    await client.send(request('/app/second'));
    await answered(scene, client, '/app/second');
    await client.send(request('/other') + request('/app/third'));
    return withoutDate(await client.readToEnd());
  },
  { options: { keepAlive: { scope: '/app/' } } },
);

bothWays(test, 'a guard answers 429, observers and the middleware are told in their order', async (scene) => {
  noting(scene, echo);
  scene.server.use(
    async (handover, next) => {
      scene.seen.push('middleware');
      await null;
      handover.observe({
        onRequest: ({ url }) => scene.seen.push(`onRequest ${url}`),
        onResponse: ({ url }, { statusCode, writableFinished }) =>
          scene.seen.push(`onResponse ${url} ${statusCode} ${writableFinished}`),
        onClose: (hadError) => scene.seen.push(`onClose ${hadError}`),
        onClientError: (error) => scene.seen.push(`onClientError ${error.message}`),
      });
      next();
    },
    limitClients({ requestsPerSecond: 0.001, burst: 2 }),
  );
  const client = await scene.hand('/first');
  await answered(scene, client, '/first');
  await client.send(request('/second'));
  await answered(scene, client, '/second');
  await client.send(request('/third'));
  const received = withoutDate(await client.readToEnd());
  await scene.saw('onClose');
  return received;
});

for (const keepAlive of [{ scope: '/' }, false] as const) {
  bothWays(
    test,
    `an access log may ask where a client came in, the connection is ${keepAlive ? 'kept' : 'not kept'}`,
    async (scene) => {
      const facts = (request: IncomingMessage): string => {
        const { peer, local, requestNumber, ingress, variables } = connectionInfo(request);
        return JSON.stringify([typeof peer?.port, local?.address, requestNumber, ingress, variables]);
      };
      scene.handler = (request, response) => {
        response.on('finish', () => scene.seen.push(`finish ${facts(request)}`));
        response.on('close', () => scene.seen.push(`close ${facts(request)}`));
        response.end('x');
      };
      const client = await scene.hand('/x', { headers: { MINE: 'yes' } });
      await scene.saw('close');
      if (keepAlive) await client.send(LAST);
      await client.readToEnd();
    },
    { options: { keepAlive } },
  );
}

bothWays(test, "what a handler leaves in an AsyncLocalStorage is not the next one's", async (scene) => {
  const storage = new AsyncLocalStorage<string>();
  noting(scene, (request, response) => {
    // With a socket and a parser a later request has the one before, up to Node.js 22.
    if (scene.isLean || request.url !== '/again') scene.t.is(storage.getStore(), undefined);
    storage.enterWith(String(request.url));
    setImmediate(() => response.end(`${storage.getStore()}`));
  });
  const clients = [await scene.hand('/one'), await scene.hand('/two')];
  await Promise.all(clients.map((client, at) => answered(scene, client, ['/one', '/two'][at] as string)));
  for (const client of clients) await client.send(request('/again', 'Connection: close\r\n'));
  const received = await Promise.all(clients.map((client) => client.readToEnd()));
  scene.seen.sort();
  return received.map(withoutDate);
});

bothWays(test, 'a connection that is idle for too long is closed, one that is used is not', async (scene) => {
  scene.server.keepAliveTimeout = 1;
  (scene.server as { keepAliveTimeoutBuffer?: number }).keepAliveTimeoutBuffer = 500;
  noting(scene, echo);
  const client = await scene.hand('/first');
  await answered(scene, client, '/first');
  await client.send(request('/second'));
  return withoutDate(await client.readToEnd());
});

for (const place of ['idle', 'answering', 'writing'] as const) {
  for (const how of ['close', 'closeIdleConnections', 'closeAllConnections', 'destroy'] as const) {
    bothWays(test, `${how}() while a connection is ${place}`, async (scene) => {
      const held = new Held();
      noting(scene, (request, response) => {
        if (request.url === '/first') return response.end('/first');
        if (place === 'writing') response.write('begun');
        return held.handler(request, response);
      });
      const client = await scene.hand('/first');
      await answered(scene, client, '/first');
      if (place !== 'idle') {
        await client.send(request('/second'));
        await held.next();
        if (place === 'writing') await client.readUntil('begun');
        await scene.settled(client);
      }
      const closed = how === 'close' || how === 'destroy' ? once(scene.server, 'close') : undefined;
      scene.server[how]();
      if (place !== 'idle') (await held.next()).end('/second');
      if (how === 'closeIdleConnections' && place !== 'idle') {
        await answered(scene, client, '/second');
        await client.send(LAST);
        await held.next(2).then((response) => response.end());
      }
      const received = withoutDate(await client.readToEnd());
      await closed;
      await until('its connection is gone', () => scene.server.stats().connections === 0);
      return received;
    });
  }
}

bothWays(test, 'getConnections counts those that wait', async (scene) => {
  noting(scene, echo);
  const count = () =>
    new Promise((resolve) => scene.server.getConnections((_error, connections) => resolve(connections)));
  const counts = [await count()];
  const clients = [await scene.hand('/1;'), await scene.hand('/2;')];
  await scene.saw('close', 2);
  counts.push(await count());
  for (const client of clients) await client.close();
  await until('they are gone', () => scene.server.stats().connections === 0);
  scene.seen.sort();
  return counts;
});

bothWays(test, 'maxConnections counts those that wait', async (scene) => {
  noting(scene, echo);
  scene.server.maxConnections = 1;
  const client = await scene.hand('/first');
  await answered(scene, client, '/first');
  await scene.t.throwsAsync(scene.hand('/second'), { code: 'FDPASS_ERR_REFUSED' });
  await client.close();
  await until('it is gone', () => scene.server.stats().connections === 0);
  const third = await scene.hand('/third');
  await answered(scene, third, '/third');
  await third.close();
});

bothWays(test, "a listener to 'timeout' decides about a connection that is idle", async (scene) => {
  scene.server.keepAliveTimeout = 1;
  (scene.server as { keepAliveTimeoutBuffer?: number }).keepAliveTimeoutBuffer = 50;
  const decided = new Promise<Socket>((resolve) => scene.server.once('timeout', resolve));
  noting(scene, echo);
  const client = await scene.hand('/first');
  const socket = await decided;
  await client.send(request('/second'));
  await answered(scene, client, '/second');
  socket.destroy();
  return withoutDate(await client.readToEnd());
});

/** They want a socket from the beginning. */
const watchers: Record<string, (scene: Scene) => () => void> = {
  "a listener to 'connection'": ({ server, seen }) => {
    server.on('connection', () => seen.push('connection'));
    return () => {};
  },
  'a subscriber of http.server.request.start': ({ seen }) => {
    const listener = (message: unknown): void =>
      void seen.push(`start ${(message as { request: IncomingMessage }).request.url}`);
    channel('http.server.request.start').subscribe(listener);
    return () => channel('http.server.request.start').unsubscribe(listener);
  },
  'server.setTimeout()': ({ server }) => {
    server.setTimeout(60_000);
    return () => {};
  },
  maxRequestsPerSocket: ({ server }) => {
    server.maxRequestsPerSocket = 2;
    return () => {};
  },
};

for (const [what, watch] of Object.entries(watchers)) {
  // A channel is one for all servers of the process.
  bothWays(
    test.serial,
    `with ${what} no request comes without a socket`,
    async (scene) => {
      const stop = watch(scene);
      try {
        noting(scene, echo);
        const client = await scene.hand('/first');
        await answered(scene, client, '/first');
        await client.send(request('/second'));
        await client.readUntil('/second');
        await client.send(request('/third'));
        await client.readUntil('HTTP/1.1 ');
        await scene.settled(client);
        client.end();
        return withoutDate(await client.readToEnd());
      } finally {
        stop();
      }
    },
    { leanCount: 0 },
  );
}

bothWays(
  test,
  'ten requests without a socket',
  async (scene) => {
    noting(scene, (_request, response) => response.end('x'));
    const client = await scene.hand('/0');
    for (let at = 1; at < 10; at++) {
      await scene.saw('close', at);
      await client.send(request(`/${at}`));
    }
    await scene.saw('close', 10);
    client.end();
    await client.readToEnd();
  },
  { leanCount: 10 },
);

bothWays(test, 'a request with a socket is followed by ones with it', async (scene) => {
  scene.handler = ({ socket, url }, response) => {
    if (url === '/first') socket.once('close', () => {});
    response.end(url);
  };
  const client = await scene.hand('/first');
  await client.readUntil('/first');
  await client.send(request('/second', 'Connection: close\r\n'));
  return withoutDate(await client.readToEnd());
});

bothWays(test, 'many clients at once, each with two requests', async (scene) => {
  scene.handler = (request, response) => {
    const { url = '' } = request;
    const kind = Number(url.replaceAll(/\D/g, '')) % 5;
    if (kind === 0) response.end(url);
    else if (kind === 1) setImmediate(() => response.end(url));
    else if (kind === 2) response.write(url, () => response.end());
    else if (kind === 3) Promise.resolve().then(() => response.end(Buffer.from(url)));
    else request.on('end', () => response.end(url)).resume();
    if (scene.isLean && url.startsWith('/a')) scene.t.true(hasNoSocket(request) || kind === 2 || kind === 4);
  };
  const received = await Promise.all(
    Array.from({ length: 100 }, async (_, at) => {
      const client = await scene.hand(`/a${at}.`);
      await client.readUntil(`/a${at}.`);
      await scene.settled(client);
      await client.send(request(`/b${at}.`, 'Connection: close\r\n'));
      return withoutDate(await client.readToEnd());
    }),
  );
  return received;
});
