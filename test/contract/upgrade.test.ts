// Connections that leave HTTP: the upgrade event with its socket, and WebSockets by an unchanged ws.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import test from 'ava';
import { WebSocket, WebSocketServer } from 'ws';
import { exchange, readAnswer } from '../helpers/answer-reader.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { until } from '../helpers/until.js';
import { connectionSubjects, subjects } from './subjects.js';

guardDescriptors(test);

const UPGRADE =
  'GET /echo HTTP/1.1\r\nHost: example.test\r\nConnection: Upgrade\r\nUpgrade: raw-echo\r\n\r\n';
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw-echo\r\n\r\n';

/** Answers 101 and sends back every byte, in upper case, those that came with the head first. */
function echoRaw(socket: Duplex, head: Buffer): void {
  socket.write(SWITCHING);
  const send = (bytes: Buffer): unknown => socket.write(bytes.toString('latin1').toUpperCase(), 'latin1');
  if (head.length > 0) send(head);
  socket.on('data', send);
  socket.on('end', () => socket.end());
}

for (const subject of connectionSubjects) {
  for (const [when, first] of Object.entries({ 'at once': `${UPGRADE}early`, 'after the answer': UPGRADE })) {
    test(`${subject.name}: an upgraded socket carries bytes both ways that are sent ${when}`, async (t) => {
      const { connect } = await subject.start(t, undefined, {}, (server) => {
        server.on('upgrade', (request, socket, head) => {
          t.is(request.url, '/echo');
          t.true(request.socket === socket);
          echoRaw(socket, head);
        });
      });
      const client = await connect();
      await client.send(first);
      await client.readUntil('\r\n\r\n');
      if (first === UPGRADE) await client.send('early');
      await client.readUntil('EARLY');
      await client.send(' and late');
      t.is(await client.readUntil('LATE'), `${SWITCHING}EARLY AND LATE`);
      client.socket.end();
      await client.readToEnd();
      t.is(client.error, undefined);
    });
  }

  test(`${subject.name}: a later request of a connection can be upgraded`, async (t) => {
    const { connect } = await subject.start(
      t,
      (_request, response) => response.end('plain'),
      {},
      (server) => server.on('upgrade', (_request, socket, head) => echoRaw(socket, head)),
    );
    const client = await connect();
    await client.send(`GET / HTTP/1.1\r\nHost: example.test\r\n\r\n`);
    t.is((await readAnswer(client)).body, 'plain');
    await client.send(`${UPGRADE}bytes`);
    t.is(await client.readUntil('BYTES'), `${SWITCHING}BYTES`);
  });

  test(`${subject.name}: without a listener an upgrade is an ordinary request`, async (t) => {
    const { connect } = await subject.start(t, (request, response) => {
      response.end(`ordinary ${request.headers.upgrade}`);
    });
    t.is((await exchange(await connect(), UPGRADE)).body, 'ordinary raw-echo');
  });

  test(`${subject.name}: the end of the client reaches an upgraded socket, which may answer it`, async (t) => {
    const { connect } = await subject.start(t, undefined, {}, (server) => {
      server.on('upgrade', (_request, socket: Duplex) => {
        socket.write(SWITCHING);
        let bytes = 0;
        socket.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        socket.on('end', () => socket.end(`${bytes} bytes`));
      });
    });
    const client = await connect();
    await client.send(UPGRADE);
    await client.readUntil('\r\n\r\n');
    await client.send('x'.repeat(300_000));
    client.socket.end();
    t.true((await client.readToEnd()).endsWith('300000 bytes'));
  });

  test(`${subject.name}: a client that resets closes an upgraded socket`, async (t) => {
    let closed = false;
    const { connect } = await subject.start(t, undefined, {}, (server) => {
      server.on('upgrade', (_request, socket: Duplex) => {
        socket.write(SWITCHING);
        socket
          .on('error', () => {})
          .on('close', () => {
            closed = true;
          });
        socket.resume();
      });
    });
    const client = await connect();
    await client.send(UPGRADE);
    await client.readUntil('\r\n\r\n');
    client.socket.resetAndDestroy();
    await until('the socket is closed', () => closed);
    t.pass();
  });

  test(`${subject.name}: ws: text, binary, large, fragmented and compressed messages, ping, both closes`, async (t) => {
    const { server, url } = await subject.start(t, undefined);
    const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 100 } });
    const closes: [number, string][] = [];
    sockets.on('connection', (socket, request) => {
      socket.on('message', (data, isBinary) => {
        if (String(data) === 'close me') socket.close(4001, 'as you wish');
        else socket.send(data, { binary: isBinary });
      });
      socket.on('close', (code, reason) => closes.push([code, `${request.url} ${reason}`]));
    });
    const open = async (path: string): Promise<WebSocket> => {
      const socket = new WebSocket(url.replace('http', 'ws') + path);
      await once(socket, 'open');
      return socket;
    };
    const client = await open('/a');
    const echoed = async (data: string | Buffer): Promise<Buffer> => {
      const answer = once(client, 'message');
      client.send(data);
      return (await answer)[0] as Buffer;
    };
    t.is(String(await echoed('hällo')), 'hällo');
    t.deepEqual(await echoed(Buffer.of(0, 1, 255)), Buffer.of(0, 1, 255));
    const large = Buffer.alloc(3_000_000, 'large message ');
    const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    t.is(digest(await echoed(large)), digest(large));
    const fragmented = once(client, 'message');
    client.send('frag', { fin: false });
    client.send('ment', { fin: true });
    t.is(String((await fragmented)[0]), 'fragment');
    const pong = once(client, 'pong');
    client.ping('are you there');
    t.is(String((await pong)[0]), 'are you there');
    client.close(4000, 'done');
    t.is((await once(client, 'close'))[0], 4000);
    const other = await open('/b');
    other.send('close me');
    const [code, reason] = await once(other, 'close');
    t.deepEqual([code, String(reason)], [4001, 'as you wish']);
    await until('both are closed', () => closes.length === 2);
    t.deepEqual(closes, [
      [4000, '/a done'],
      [4001, '/b as you wish'],
    ]);
    sockets.close();
  });
}

test('relay: the upgrade of a WebSocket is answered 426', async (t) => {
  const relay = subjects.find(({ isRelay }) => isRelay);
  const running = await relay?.start(t, undefined, {}, (server) => {
    server.on('upgrade', () => t.fail('a relay cannot carry it'));
  });
  const socket = new WebSocket(String(running?.url.replace('http', 'ws')));
  const [, response] = await once(socket, 'unexpected-response');
  t.is(response.statusCode, 426);
  socket.on('error', () => {}).terminate();
});
