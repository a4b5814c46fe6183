// Early bytes near their limit of 64 KiB, through a real nginx with header buffers that take more: up to the limit they go with
// the message, over it the client goes to the fallback whole. What a message near its limit looks like is the receiver's to test.
import test, { type ExecutionContext } from 'ava';
import { readAnswer } from '../helpers/answer-reader.js';
import { type BehindNginx, behindNginx } from '../helpers/behind-nginx.js';
import { answerDigest, bodyOf, chunked, digestOf } from '../helpers/body-digest.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule, ownAddress } from '../helpers/nginx.js';
import { arrivedIn, openClient, unreadBytes, untilRead } from '../helpers/nginx-client.js';
import type { RawClient } from '../helpers/raw-client.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const LIMIT = 65_536;
const HEADS = 'client_header_buffer_size 200k; large_client_header_buffers 4 200k;';

/** nginx on an address where 200 kB fit into the kernel's buffer before anybody reads. */
async function start(t: ExecutionContext, fallback = 'fd_pass_fallback @relay;'): Promise<BehindNginx> {
  const address = ownAddress();
  const front = await behindNginx(t, {
    handler: answerDigest,
    server: { keepAlive: { scope: '/' } },
    locations: (socket) => `
      listen ${address} rcvbuf=400k; ${HEADS}
      location / { fd_pass unix:${socket}; ${fallback} }
      location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`,
  });
  const [host = '', port] = address.split(':');
  return { ...front, host, port: Number(port) };
}

/** Sends while nginx stands still, so that one read of it takes everything. */
async function sendAsOne(t: ExecutionContext, front: BehindNginx, bytes: Buffer): Promise<RawClient> {
  const [worker] = front.nginx.workers() as [number];
  process.kill(worker, 'SIGSTOP');
  try {
    const client = await openClient(t, front);
    await client.send(bytes);
    while ((await unreadBytes(client)) !== bytes.length) t.is(client.error, undefined);
    return client;
  } finally {
    process.kill(worker, 'SIGCONT');
  }
}

const headOf = (framing: string, target = '/upload'): Buffer =>
  Buffer.from(`POST ${target} HTTP/1.1\r\nHost: example.test\r\n${framing}\r\n\r\n`);

const withLength = (body: Buffer): Buffer => Buffer.concat([headOf(`Content-Length: ${body.length}`), body]);

for (const size of [LIMIT - 1, LIMIT]) {
  withNginx(`${size} early bytes go with the message`, async (t) => {
    const body = bodyOf(size);
    const client = await sendAsOne(t, await start(t), withLength(body));
    t.like(arrivedIn(await readAnswer(client)), {
      handover: 'full',
      earlyBytes: size,
      ...digestOf(body),
    });
  });
}

for (const size of [LIMIT + 1, 100_000, 150_000]) {
  withNginx(`${size} early bytes go to the fallback`, async (t) => {
    const front = await start(t);
    const body = bodyOf(size);
    const client = await sendAsOne(t, front, withLength(body));
    t.like(arrivedIn(await readAnswer(client)), { handover: 'relay', ...digestOf(body) });
    t.regex((await front.accessLog(1)).join(), /^POST \/upload 200 \d+ none "-" -$/);
  });
}

withNginx('the limit counts what came, not what the length announces', async (t) => {
  const front = await start(t);
  const body = bodyOf(300_000);
  const client = await sendAsOne(
    t,
    front,
    Buffer.concat([headOf(`Content-Length: ${body.length}`), body.subarray(0, LIMIT)]),
  );
  await untilRead(client);
  await client.send(body.subarray(LIMIT));
  t.like(arrivedIn(await readAnswer(client)), {
    handover: 'full',
    earlyBytes: LIMIT,
    ...digestOf(body),
  });
});

for (const [what, size, chunkBytes, handover] of [
  ['within the limit', 60_000, 1000, 'full'],
  ['over it', 70_000, 1000, 'relay'],
  ['over it in chunks of one byte', 20_000, 1, 'relay'],
] as const) {
  withNginx(`chunked early bytes ${what}: ${handover}`, async (t) => {
    const body = bodyOf(size);
    const request = Buffer.concat([headOf('Transfer-Encoding: chunked'), chunked(body, chunkBytes)]);
    const client = await sendAsOne(t, await start(t), request);
    t.like(arrivedIn(await readAnswer(client)), { handover, ...digestOf(body) });
  });
}

withNginx('too many early bytes without a fallback are a 500, and the backend saw nothing', async (t) => {
  const front = await start(t, '');
  const client = await sendAsOne(t, front, withLength(bodyOf(LIMIT + 1)));
  t.is((await readAnswer(client)).status, 500);
  t.like(front.server.stats(), { full: 0, relay: 0, refused: 0 });
});

withNginx('requests that are pipelined over the limit: one is relayed, the rest handed over', async (t) => {
  const front = await start(t);
  const bodies = [50_000, 10_000, 20_000].map((size, n) => bodyOf(size, n));
  const requests = bodies.map((body, n) =>
    Buffer.concat([headOf(`Content-Length: ${body.length}`, `/${n}`), body]),
  );
  const client = await sendAsOne(t, front, Buffer.concat(requests));
  for (const [n, body] of bodies.entries()) {
    const arrived = arrivedIn(await readAnswer(client));
    t.like(arrived, { url: `/${n}`, handover: n === 0 ? 'relay' : 'full', ...digestOf(body) });
  }
});
