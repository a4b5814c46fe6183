// A handover server whose handlers throw, which a test runner would not survive: prints what its clients got, and what was thrown.
// The argument says whether requests may be answered without a socket.
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from '@fdpass/backend-runtime';
import { openDescriptors } from './descriptors.js';
import { handOver } from './hand-over.js';
import { LAST, request, withoutDate } from './lean-scene.js';
import { until } from './until.js';

const uncaught: string[] = [];
process.on('uncaughtException', ({ message }) => uncaught.push(message));

const fail = (what: string) => (): never => {
  throw new Error(what);
};
const handlers: Record<string, (request: IncomingMessage, response: ServerResponse) => unknown> = {
  '/before': fail('before the answer'),
  '/after': (_request, response) => {
    response.end('after');
    throw new Error('after the answer');
  },
  '/between': (_request, response) => {
    response.write('between');
    throw new Error('between the parts');
  },
  '/finish': (_request, response) => response.on('finish', fail("about 'finish'")).end('finish'),
  '/prefinish': (_request, response) => response.on('prefinish', fail("about 'prefinish'")).end('prefinish'),
  '/close': (_request, response) => response.on('close', fail("about 'close'")).end('close'),
  '/callback': (_request, response) => response.end('callback', fail('in the callback')),
  '/request': (request, response) => {
    request.on('end', fail("about the request's end")).resume();
    response.end('request');
  },
  '/socket': ({ socket }, response) => {
    socket.on('close', fail("about the socket's close"));
    response.end('socket');
  },
};

/**
 * What is to come of it. Nothing is sent behind it: http.Server's parser does not survive what is thrown while it is at work (nor, from
 * Node.js 24.21 on, what end()'s callback throws), which is no model for one that is not.
 */
const ENDS_BADLY: Readonly<Record<string, string>> = {
  '/before': '',
  '/between': 'between',
  '/after': 'after',
  '/prefinish': 'prefinish',
  '/callback': 'callback',
};

const path = `\0fdpass-test-${process.pid}`;
const server = createServer(
  { lean: process.argv[2] === 'lean', keepAlive: { scope: '/' } },
  (request, response) => {
    const handler = handlers[request.url ?? ''];
    if (handler === undefined) response.end('served');
    else handler(request, response);
  },
);
server.listen({ path });
await once(server, 'listening');
/** One that is kept open, so that whatever the server opens for such is open by now. */
const first = await handOver(path, { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
await first.readUntil('served');
await first.send(LAST);
await first.readToEnd();
await until('its connection is gone', () => server.stats().connections === 0);
const before = openDescriptors().size;

const answers: Record<string, string> = {};
for (const target of Object.keys(handlers)) {
  for (const place of ['first', 'second'] as const) {
    const thrown = uncaught.length;
    const options = { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } };
    // Others are at work at the same time, and are none the worse for it.
    const others = Promise.all(
      Array.from({ length: 5 }, () => handOver(path, { target: '/other', ...options })),
    );
    const client = await handOver(path, { target: place === 'first' ? target : '/other', ...options });
    if (place === 'second') {
      await client.readUntil('served');
      await client.send(request(target));
    }
    if (target === '/socket') {
      await client.readUntil('socket');
      client.end();
      await client.readToEnd();
    }
    await until(`it throws: ${target}`, () => uncaught.length > thrown);
    for (const other of await others) {
      await other.readUntil('served');
      await other.send(LAST);
      if (!(await other.readToEnd()).includes('Connection: close')) throw new Error('another had no answer');
    }
    if (ENDS_BADLY[target] !== undefined) {
      await client.readUntil(ENDS_BADLY[target]);
      await client.close();
    } else if (target !== '/socket') {
      await client.send(LAST);
      await client.readToEnd();
    }
    answers[`${place} ${target}`] = withoutDate(client.received);
  }
}
await until('all connections are gone', () => server.stats().connections === 0);
await until('all descriptors are closed', () => openDescriptors().size <= before);
const closed = once(server, 'close');
server.close();
await closed;
process.stdout.write(JSON.stringify({ answers, uncaught }));
