// The client's own header fields as the backend is told them: every one, as often and in the order it came, under a name that SCGI has.
import test from 'ava';
import { guardDescriptors } from '../helpers/descriptors.js';
import { nginxWithModule } from '../helpers/nginx.js';
import { RawClient } from '../helpers/raw-client.js';
import { type Recorded, type RecordingNginx, recordingNginx } from '../helpers/recording-nginx.js';
import { needs } from '../helpers/requirements.js';

guardDescriptors(test);
const withNginx = needs(test, ...nginxWithModule);

const fieldsOf = (message: Recorded | undefined): (readonly [string, string])[] =>
  (message?.headers ?? []).filter(([name]) => name.startsWith('HTTP_') && name !== 'HTTP_HOST');

const PASS = 'location / { fd_pass unix:@FOLDER@/app.sock; }';

/** What the client gets, which is nothing if it was handed over: the recorder lets go of it. */
async function get({ host, port }: RecordingNginx, ...fields: string[]): Promise<string> {
  const client = await RawClient.connect(port, host);
  await client.send(
    `GET / HTTP/1.1\r\nHost: example.test\r\n${fields.map((each) => `${each}\r\n`).join('')}\r\n`,
  );
  return await client.readToEnd();
}

withNginx('a field that came twice goes twice, each in its place', async (t) => {
  const front = await recordingNginx(t);
  await get(
    front,
    'Cookie: a=1',
    'X-Forwarded-For: 192.0.2.1',
    'Accept: */*',
    'cookie: b=2',
    'X-Forwarded-For: 192.0.2.2',
  );
  t.deepEqual(fieldsOf(front.recorder.messages[0]), [
    ['HTTP_COOKIE', 'a=1'],
    ['HTTP_X_FORWARDED_FOR', '192.0.2.1'],
    ['HTTP_ACCEPT', '*/*'],
    ['HTTP_COOKIE', 'b=2'],
    ['HTTP_X_FORWARDED_FOR', '192.0.2.2'],
  ]);
});

withNginx('a hundred fields, more than one part of the list nginx keeps them in, go in order', async (t) => {
  const front = await recordingNginx(t);
  const numbers = Array.from({ length: 100 }, (_, each) => each);
  await get(front, ...numbers.map((each) => `X-${each}: value ${each}`));
  t.deepEqual(
    fieldsOf(front.recorder.messages[0]),
    numbers.map((each) => [`HTTP_X_${each}`, `value ${each}`]),
  );
});

withNginx(
  'values keep every byte: empty, inner spaces, tabs, latin1, quotes and separators of the message itself',
  async (t) => {
    const front = await recordingNginx(t);
    await get(
      front,
      'X-Empty:',
      'X-Spaces:   a \t b  ',
      'X-Latin: \xe4\xf6\xfc\xff\x80',
      'X-Netstring: 12:SCGI,',
      'X-Quotes: "\\',
    );
    t.deepEqual(fieldsOf(front.recorder.messages[0]), [
      ['HTTP_X_EMPTY', ''],
      ['HTTP_X_SPACES', 'a \t b'],
      ['HTTP_X_LATIN', '\xe4\xf6\xfc\xff\x80'],
      ['HTTP_X_NETSTRING', '12:SCGI,'],
      ['HTTP_X_QUOTES', '"\\'],
    ]);
  },
);

withNginx('values of 16 KB go whole', async (t) => {
  const front = await recordingNginx(t, { server: `large_client_header_buffers 4 32k; ${PASS}` });
  const values = ['a', 'b', 'c'].map((letter) => letter.repeat(16_384));
  await get(front, ...values.map((value) => `X-Long: ${value}`));
  t.deepEqual(
    fieldsOf(front.recorder.messages[0]),
    values.map((value) => ['HTTP_X_LONG', value]),
  );
});

withNginx('names with an underscore are left out, as nginx does without our module', async (t) => {
  const front = await recordingNginx(t);
  await get(front, 'X_Real_IP: 192.0.2.1', 'Content_Length: 5', 'X-Good: 1');
  t.deepEqual(fieldsOf(front.recorder.messages[0]), [['HTTP_X_GOOD', '1']]);
});

withNginx('underscores_in_headers lets them in', async (t) => {
  const front = await recordingNginx(t, { server: `underscores_in_headers on; ${PASS}` });
  await get(front, 'X_Own: 1', 'X-Own: 2');
  t.deepEqual(fieldsOf(front.recorder.messages[0]), [
    ['HTTP_X_OWN', '1'],
    ['HTTP_X_OWN', '2'],
  ]);
});

for (const setting of ['underscores_in_headers on', 'ignore_invalid_headers off']) {
  withNginx(
    `${setting}: a name with an underscore is not taken for one that frames the request`,
    async (t) => {
      const front = await recordingNginx(t, { server: `${setting}; ${PASS}` });
      await get(front, 'Content_Length: 5', 'Transfer_Encoding: chunked', 'X-Good: 1');
      t.deepEqual(fieldsOf(front.recorder.messages[0]), [['HTTP_X_GOOD', '1']]);
    },
  );
}

withNginx(
  'ignore_invalid_headers off: names that SCGI cannot carry are left out and logged, the rest goes',
  async (t) => {
    const front = await recordingNginx(t, { server: `ignore_invalid_headers off; ${PASS}` });
    await get(front, 'X.Dot: 1', 'X-Good: 2', "X'Quote: 3", 'X\xe4: 5', 'X-Last: 6');
    t.deepEqual(fieldsOf(front.recorder.messages[0]), [
      ['HTTP_X_GOOD', '2'],
      ['HTTP_X_LAST', '6'],
    ]);
    t.regex(front.nginx.errorLog(), /fd_pass leaves out the field "X\.Dot", whose name SCGI cannot carry/);
  },
);

withNginx('what nginx refuses reaches no backend', async (t) => {
  const front = await recordingNginx(t, {
    server: `lingering_timeout 50ms; ignore_invalid_headers off; ${PASS}`,
  });
  const refused: readonly string[][] = [
    ['Host: other.test'],
    ['Content-Length: 1', 'Content-Length: 1'],
    ['Content-Length: 1', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: gzip'],
    ['X Space: a'],
    [': no name'],
    ['X-Zero: a\0b'],
    ['X-Return: a\rb'],
  ];
  for (const fields of refused) t.regex(await get(front, ...fields), /^HTTP\/1\.1 (400|501) /, fields.join());
  t.deepEqual(front.recorder.messages, []);
});
