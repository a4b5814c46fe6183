// The parts of the demo application that stay connected: the clock's event stream and the chat, on plain Fastify and handed over.
import { once } from 'node:events';
import type {} from '@fastify/websocket'; // app.websocketServer
import type { DemoOptions } from '@fdpass/demo-app';
import test, { type ExecutionContext } from 'ava';
import { Agent, request } from 'undici';
import { WebSocket } from 'ws';
import { guardDescriptors } from '../helpers/descriptors.js';
import { RawClient } from '../helpers/raw-client.js';
import { type ServedDemo, waysToServe } from '../helpers/served-demo.js';
import { until } from '../helpers/until.js';

guardDescriptors(test);

const unixSeconds = (): number => Math.floor(Date.now() / 1000);

/** An agent of the test's own, so that its idle connections end with the test. */
function agentOf(t: ExecutionContext): Agent {
  const agent = new Agent();
  t.teardown(() => agent.destroy());
  return agent;
}

const upgradeOf = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';

/** A member of the chat and what it was told so far. */
class Member {
  readonly heard: string[] = [];
  /** The code the connection ends with. */
  readonly closeCode: Promise<number>;

  private constructor(readonly socket: WebSocket) {
    this.closeCode = new Promise((resolve) => socket.on('close', resolve));
    socket.on('message', (data) => this.heard.push(String(data)));
    socket.on('error', () => {});
  }

  static async join(
    t: ExecutionContext,
    demo: ServedDemo,
    options: { autoPong?: boolean } = {},
  ): Promise<Member> {
    const member = new Member(new WebSocket(`ws://127.0.0.1:${demo.port}/chat`, options));
    t.teardown(() => member.socket.terminate());
    await once(member.socket, 'open');
    return member;
  }
}

interface Tick {
  id: number;
  data: string;
}

/** The complete events of an event stream's text. */
function ticksIn(text: string): Tick[] {
  return Array.from(text.matchAll(/^id: (\d+)\ndata: (\S+)\n\n/gm), ([, id, data]) => ({
    id: Number(id),
    data: String(data),
  }));
}

/** Reads events until `count` are there, then leaves. */
async function readTicks(t: ExecutionContext, demo: ServedDemo, count: number, lastEventId?: string) {
  const { statusCode, headers, body } = await request(`${demo.origin}/clock`, {
    dispatcher: agentOf(t),
    headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
  });
  let text = '';
  for await (const chunk of body) {
    text += String(chunk);
    if (ticksIn(text).length >= count) break;
  }
  return { statusCode, headers, text, ticks: ticksIn(text) };
}

for (const [way, serve] of Object.entries(waysToServe)) {
  const start = async (t: ExecutionContext, options?: DemoOptions): Promise<ServedDemo> => {
    const demo = await serve(options);
    t.teardown(() => demo.close());
    return demo;
  };

  test(`${way}: /clock ticks each second, with an id`, async (t) => {
    const demo = await start(t);
    const from = unixSeconds();
    const { headers, text, ticks } = await readTicks(t, demo, 3);
    t.is(headers['content-type'], 'text/event-stream; charset=utf-8');
    t.is(headers['cache-control'], 'no-store, no-transform');
    t.true(text.startsWith('retry: 2000\n\n'));
    const [first, ...later] = ticks as [Tick, ...Tick[]];
    t.true(first.id >= from && first.id <= unixSeconds());
    t.deepEqual(
      later.map(({ id }) => id - first.id),
      [1, 2],
    );
    for (const { id, data } of ticks) t.is(data, new Date(id * 1000).toISOString());
  });

  test(`${way}: /clock sends what was missed since Last-Event-ID`, async (t) => {
    const demo = await start(t);
    const last = unixSeconds() - 3;
    const { ticks } = await readTicks(t, demo, 3, String(last));
    t.deepEqual(
      ticks.slice(0, 3).map(({ id }) => id - last),
      [1, 2, 3],
    );
  });

  test(`${way}: /clock replays no more than thirty events`, async (t) => {
    const demo = await start(t);
    const { ticks } = await readTicks(t, demo, 30, '1');
    t.true((ticks[0]?.id ?? 0) >= unixSeconds() - 31);
  });

  for (const lastEventId of ['', 'soon', '-1', '99999999999', '1e3']) {
    test(`${way}: /clock begins now after Last-Event-ID "${lastEventId}"`, async (t) => {
      const demo = await start(t);
      const from = unixSeconds();
      const { ticks } = await readTicks(t, demo, 1, lastEventId);
      t.true((ticks[0]?.id ?? 0) >= from);
    });
  }

  test(`${way}: /clock ends when the application closes`, async (t) => {
    const demo = await start(t);
    const client = await RawClient.connect(demo.port);
    await client.send('GET /clock HTTP/1.1\r\nHost: h\r\n\r\n');
    await client.readUntil('id: ');
    const [answer] = await Promise.all([client.readToEnd(), demo.close()]);
    t.true(answer.endsWith('\r\n0\r\n\r\n'), 'the chunked answer has its end');
  });

  test(`${way}: HEAD /clock subscribes nobody`, async (t) => {
    const demo = await start(t);
    const { statusCode } = await request(`${demo.origin}/clock`, { method: 'HEAD', dispatcher: agentOf(t) });
    t.is(statusCode, 404);
  });

  test(`${way}: /chat tells everyone, the sender too, in order`, async (t) => {
    const demo = await start(t);
    const [one, other] = await Promise.all([Member.join(t, demo), Member.join(t, demo)]);
    one.socket.send('first');
    one.socket.send('zweites, mit Umlaut: ä');
    await until('both have heard both', () => one.heard.length === 2 && other.heard.length === 2);
    t.deepEqual(one.heard, ['first', 'zweites, mit Umlaut: ä']);
    t.deepEqual(other.heard, one.heard);
  });

  for (const { name, data, code } of [
    { name: 'binary data', data: Buffer.of(1, 2), code: 1003 },
    { name: 'a message over 4096 bytes', data: 'x'.repeat(4097), code: 1009 },
  ]) {
    test(`${way}: /chat shows out who sends ${name}, and only them`, async (t) => {
      const demo = await start(t);
      const [one, other] = await Promise.all([Member.join(t, demo), Member.join(t, demo)]);
      one.socket.send(data);
      t.is(await one.closeCode, code);
      other.socket.send('still here');
      await until('the other is served', () => other.heard.length === 1);
      t.deepEqual(other.heard, ['still here']);
    });
  }

  test(`${way}: /chat drops a client that answers no ping`, async (t) => {
    const demo = await start(t, { chat: { pingIntervalMs: 500 } });
    const silent = await Member.join(t, demo, { autoPong: false });
    const lively = await Member.join(t, demo);
    t.is(await silent.closeCode, 1006);
    t.is(lively.socket.readyState, WebSocket.OPEN);
  });

  test(`${way}: /chat drops a client that does not read, once too much waits for it`, async (t) => {
    const demo = await start(t);
    const talker = await Member.join(t, demo);
    const deaf = await RawClient.connect(demo.port);
    await deaf.send(upgradeOf('/chat'));
    await deaf.readUntil('\r\n\r\n');
    deaf.socket.pause();
    const { clients } = demo.app.websocketServer;
    t.is(clients.size, 2);
    const text = 'x'.repeat(4_000);
    let sent = 0;
    await until('it is dropped', async () => {
      for (let count = 0; count < 100; count += 1) talker.socket.send(text);
      sent += 100;
      // Never ahead of the server: on a slow machine what waits there would grow faster than it is read.
      await until('the talker has heard itself', () => talker.heard.length === sent);
      return clients.size === 1;
    });
    t.is(talker.socket.readyState, WebSocket.OPEN);
    await deaf.close();
  });

  test(`${way}: /chat says goodbye when the application closes`, async (t) => {
    const demo = await start(t);
    const member = await Member.join(t, demo);
    const [code] = await Promise.all([member.closeCode, demo.close()]);
    t.is(code, 1001);
  });

  test(`${way}: closing does not wait for a chat client that never says goodbye`, async (t) => {
    const demo = await start(t);
    const client = await RawClient.connect(demo.port);
    await client.send(upgradeOf('/chat'));
    await client.readUntil('\r\n\r\n');
    const begin = performance.now();
    await Promise.all([demo.close(), client.readToEnd()]);
    t.true(performance.now() - begin < 8_000);
  });

  test(`${way}: an upgrade of a path that does not exist is answered and closed`, async (t) => {
    const demo = await start(t);
    const client = await RawClient.connect(demo.port);
    await client.send(upgradeOf('/nowhere'));
    t.regex(await client.readToEnd(), /^HTTP\/1\.1 404 /);
  });
}
