// What a request is once its answer is done, for somebody who asks only then: read to its end and closed, as by http.Server.

import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const NEXT = 'GET /next HTTP/1.1\r\nHost: example.test\r\n\r\n';

for (const lean of [true, false]) {
  test(`${lean ? 'without' : 'with'} a socket: requests that nobody has read are at their end behind their answers`, async (t) => {
    const requests: IncomingMessage[] = [];
    const { path } = await serve(t, { lean, keepAlive: { scope: '/' } }, (request, response) => {
      requests.push(request);
      response.end(`answer ${requests.length}`);
    });
    const client = await handOver(path, { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
    await client.readUntil('answer 1');
    await client.send(NEXT);
    await client.readUntil('answer 2');
    await until('they are closed', () => requests.every(({ closed }) => closed));
    for (const request of requests) {
      const { readable, readableEnded, readableAborted, destroyed, closed, errored } = request;
      t.deepEqual(
        { readable, readableEnded, readableAborted, destroyed, closed, errored },
        {
          readable: false,
          readableEnded: true,
          readableAborted: false,
          destroyed: true,
          closed: true,
          errored: null,
        },
      );
      await finished(request);
      for await (const chunk of request) t.fail(String(chunk));
    }
    await client.close();
  });

  test(`${lean ? 'without' : 'with'} a socket: who listens at the end of an answer hears of its request's`, async (t) => {
    const heard: string[] = [];
    const { path } = await serve(t, { lean, keepAlive: { scope: '/' } }, (request, response) => {
      response.on('finish', () => request.on('end', () => heard.push('end')));
      response.on('close', () => request.on('close', () => heard.push('close')));
      response.end('served');
    });
    const client = await handOver(path, { headers: { SERVER_PROTOCOL: 'HTTP/1.1' } });
    await client.readUntil('served');
    await until('both are heard', () => heard.length === 2);
    t.deepEqual(heard, ['end', 'close']);
    await client.close();
  });
}
