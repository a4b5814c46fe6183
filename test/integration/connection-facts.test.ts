// Facts that are asked for late are this connection's, or unknown: never those of whoever has the descriptor's number by then.
import type { IncomingMessage } from 'node:http';
import { connectionInfo } from '@fdpass/backend-runtime';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { ClientSource } from '../helpers/client-source.js';
import { guardDescriptors, openDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { serve } from '../helpers/serve.js';
import { until } from '../helpers/until.js';

const native = loadNative();
guardDescriptors(test);

for (const kind of ['full', 'partial'] as const) {
  test.serial(
    `${kind}: while the connection lingers, its descriptor's number may be another's`,
    async (t) => {
      let asked: IncomingMessage | undefined;
      const { path } = await serve(t, {}, (request, response) => {
        asked = request;
        response.writeHead(413).end('too large');
      });
      const before = openDescriptors();
      const client = await handOver(path, { kind, method: 'POST', headers: { HTTP_CONTENT_LENGTH: '1' } });
      const { localPort } = client.answer.socket;
      await client.readUntil('too large');
      client.answer.socket.end();
      if (kind === 'partial') {
        // The client's end, and two of the UNIX connection: the client's descriptor is closed here.
        await until('the answer is complete', () => openDescriptors().size === before.size + 3);
      }
      // Takes every number that is free now.
      const source = new ClientSource();
      const others = await Promise.all([source.next(), source.next(), source.next()]);
      source.close();
      const { peer } = connectionInfo(asked as IncomingMessage);
      for (const { client: other, fd } of others) {
        await other.close();
        native.closeFd(fd);
      }
      await client.close();
      t.true(peer === undefined || peer.port === localPort, JSON.stringify({ peer, localPort }));
    },
  );
}
