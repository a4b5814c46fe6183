// What one receiver takes, the next one takes, too: the most that can have been read behind a message, and the most headers.
import { defaultWireLimits, encodeMessage, encodeNetstring, encodeScgiHeaders } from '@fdpass/scgi-fdpass';
import test from 'ava';
import { loadNative } from '#native/index.js';
import { answerDigest, bodyOf, digestOf } from '../helpers/body-digest.js';
import { ClientSource } from '../helpers/client-source.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { handOver } from '../helpers/hand-over.js';
import { routeTo } from '../helpers/router.js';
import { serve } from '../helpers/serve.js';
import { GET, versionOne, WireSender } from '../helpers/wire-sender.js';

const native = loadNative();
guardDescriptors(test);

type Headers = readonly (readonly [name: string, value: string])[];

const BODY = bodyOf(400_000);
const POST: Headers = [
  ['REQUEST_METHOD', 'POST'],
  ['HTTP_CONTENT_LENGTH', String(BODY.length)],
  ...GET.filter(([name]) => name !== 'REQUEST_METHOD'),
];
const PARTIAL: Headers = [['KTLS_RX', '0'], ...POST];
const earlyOf = (count: number): Buffer => BODY.subarray(0, count);
const plain = (headers: Headers): Buffer =>
  encodeNetstring(encodeScgiHeaders([['CONTENT_LENGTH', String(BODY.length)], ['SCGI', '1'], ...headers]));

const mosts: [title: string, message: Buffer, early: number, needsFd: boolean][] = [
  ['relay', plain(POST), 0, false],
  ['partial, version 0', encodeMessage({ headers: PARTIAL }), 0, true],
  [
    'partial, version 1',
    versionOne({ headers: PARTIAL, earlyBytes: earlyOf(defaultWireLimits.maxEarlyBytes) }),
    defaultWireLimits.maxEarlyBytes,
    true,
  ],
];

for (const [title, message, early, needsFd] of mosts) {
  test(`${title}: the most that a router can have read behind a message is passed on`, async (t) => {
    const { path } = await serve(t, {}, answerDigest);
    const second = await routeTo(t, path);
    const router = await routeTo(t, second.path);
    const source = new ClientSource();
    const { fd, client } = await source.next();
    source.close();
    const sender = new WireSender(router.path);
    await sender.send(message.subarray(0, -1), ...(needsFd ? [fd] : []));
    await sender.isRead();
    // The message's last byte and the body in one piece: the router reads as much of it as it ever does.
    await sender.send(Buffer.concat([message.subarray(-1), BODY.subarray(early)]));
    const answer = needsFd ? await client.readUntil('"}') : await sender.answer();
    // One read without the byte that makes the message whole.
    const { earlyBytes, ...digest } = JSON.parse(answer.slice(answer.indexOf('{')));
    t.is(earlyBytes, early + 65_535);
    t.like(digest, digestOf(BODY));
    sender.close();
    native.closeFd(fd);
    await client.close();
  });
}

for (const kind of ['full', 'partial', 'relay'] as const) {
  test(`${kind}: with as many headers as may be, through two routers; one more is refused by the first`, async (t) => {
    const { path, errors } = await serve(t);
    const second = await routeTo(t, path);
    const router = await routeTo(t, second.path);
    const headersOf = async (count: number): Promise<string> => {
      const own = { full: 1, partial: 2, relay: 0 }[kind] + 2 + GET.length;
      const headers = Array.from({ length: count - own }, (_, nth) => [`V${nth}`, '']);
      const client = await handOver(router.path, { kind, headers: Object.fromEntries(headers) });
      return client.readToEnd();
    };
    const most = defaultWireLimits.maxHeaders;
    t.regex(await headersOf(most), /200/);
    // A relay is told nothing: its connection ends.
    if (kind === 'relay') t.is(await headersOf(most + 1), '');
    else await t.throwsAsync(headersOf(most + 1), { code: 'FDPASS_ERR_REFUSED' });
    t.deepEqual([router.errors, second.errors, errors], [['SCGI_ERR_TOO_MANY_HEADERS'], [], []]);
  });
}
