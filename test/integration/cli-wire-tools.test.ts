// `fdpass decode` and `fdpass send`: captured messages shown, and sent to real servers.
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createSilentServer } from 'node:net';
import { join } from 'node:path';
import { createServer, type HandoverServerOptions } from '@fdpass/backend-runtime';
import {
  closeHandover,
  encodeMessage,
  type Handover,
  Receiver,
  type ReceiverOptions,
} from '@fdpass/scgi-fdpass';
import test, { type ExecutionContext } from 'ava';
import { CONFORMANCE_FOLDER } from '../conformance/vectors.js';
import { guardDescriptors } from '../helpers/descriptors.js';
import { assertOneSentence, FdpassCommand, temporaryFolder } from '../helpers/fdpass-command.js';
import { VIA } from '../helpers/passed-on.js';

guardDescriptors(test);

const captures = new URL('captures/', CONFORMANCE_FOLDER).pathname;
const capture = (name: string): string => join(captures, `${name}.scgi`);

/** A message in a file. */
function messageFile(t: ExecutionContext, message: Parameters<typeof encodeMessage>[0]): string {
  const file = join(temporaryFolder(t), 'message.scgi');
  writeFileSync(file, encodeMessage(message));
  return file;
}

test.serial('decode shows a message', async (t) => {
  const { code, stdout, stderr } = await FdpassCommand.run(t, ['decode', capture('plain-post')]);
  t.is(code, 0);
  t.is(stderr, '');
  t.regex(stdout, /^# dialect: plain\n# version: 0\n# kind: relay\n# ktls: none\n# contentLength: 10\n/);
  t.regex(stdout, /\nREQUEST_METHOD=POST\n/);
});

test.serial('decode --json has the same for every capture', async (t) => {
  const files = readdirSync(captures);
  const shown = await Promise.all(
    files.map(async (name) => {
      const { code, stdout } = await FdpassCommand.run(t, ['decode', '--json', join(captures, name)]);
      t.is(code, 0);
      const { kind, headers } = JSON.parse(stdout) as { kind: string; headers: [string, string][] };
      t.is(kind, name.startsWith('plain-') ? 'relay' : 'full');
      return headers.length;
    }),
  );
  t.is(shown[files.indexOf('many-headers.scgi')], 102);
});

test.serial('decode tells a relay that was passed on from a client', async (t) => {
  const headers = [...VIA, ['FD_PASS_RELAY', '10'] as const, ['KTLS_RX', '0'] as const];
  const file = messageFile(t, { headers: [['FD_PASS_VERSION', '1'], ...headers] });
  const { stdout } = await FdpassCommand.run(t, ['decode', file]);
  t.regex(stdout, /^# dialect: fd_pass\n# version: 1\n# kind: relay\n# ktls: none\n/);
});

test.serial('decode leaves nothing of a client to the terminal', async (t) => {
  const file = messageFile(t, { headers: [['HTTP_USER_AGENT', '\x1b]0;title\x07\r\n\x9bcaf\xe9']] });
  const { stdout } = await FdpassCommand.run(t, ['decode', file]);
  t.true(stdout.endsWith('\nHTTP_USER_AGENT=\\x1b]0;title\\x07\\x0d\\x0a\\x9bcafé\n'));
});

test.serial('decode into a pipe that nobody reads ends quietly', async (t) => {
  const command = [
    '/bin/sh',
    '-c',
    '"$0" "$@" | true',
    process.execPath,
    join('packages', 'backend-runtime', 'bin', 'fdpass.js'),
  ];
  const { stderr } = await FdpassCommand.run(t, ['decode', capture('long-uri')], { command });
  t.is(stderr, '');
});

const undecodable: [title: string, bytes: string, message: RegExp][] = [
  ['no netstring', 'GET / HTTP/1.1\r\n', /does not begin with a netstring length/],
  ['half a message', readFileSync(capture('get'), 'latin1').slice(0, 100), /ends in the middle of a message/],
  ['an empty file', '', /ends in the middle of a message/],
];
for (const [title, bytes, message] of undecodable) {
  test.serial(`decode of ${title}: one sentence`, async (t) => {
    const cwd = temporaryFolder(t, { 'x.scgi': bytes });
    assertOneSentence(t, await FdpassCommand.run(t, ['decode', 'x.scgi'], { cwd }), message);
  });
}

test.serial('a file that is not there: one sentence', async (t) => {
  assertOneSentence(t, await FdpassCommand.run(t, ['decode', 'gone.scgi']), /ENOENT.*gone\.scgi/);
  assertOneSentence(t, await FdpassCommand.run(t, ['send', 'gone.scgi', '--to', '/a']), /ENOENT.*gone\.scgi/);
});

/** An HTTP server that answers what it was asked. */
async function server(t: ExecutionContext, options: HandoverServerOptions = {}): Promise<string> {
  const path = join(temporaryFolder(t), 'app.sock');
  const made = createServer(options, async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    response.end(`${request.method} ${request.url} ${body}`);
  });
  made.listen({ path });
  await once(made, 'listening');
  t.teardown(async () => {
    made.destroy();
    await once(made, 'close');
  });
  return path;
}

const sent: [title: string, file: (t: ExecutionContext) => string, stdout: RegExp, stderr: string][] = [
  [
    "the public module's",
    () => capture('get-query'),
    /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nGET \/a%20b\/\.\.\/c\?x=1&y=%2F $/s,
    '',
  ],
  [
    'a plain one with its body',
    () => capture('plain-post'),
    /^Status: 200 OK\r\n.*\r\n\r\nPOST \/post name=value$/s,
    '',
  ],
  [
    'one of version 1 with early bytes',
    (t) =>
      messageFile(t, {
        headers: [
          ['FD_PASS_VERSION', '1'],
          ['REQUEST_METHOD', 'POST'],
          ['REQUEST_URI', '/v1'],
          ['HTTP_HOST', 'a'],
          ['HTTP_CONTENT_LENGTH', '5'],
        ],
        earlyBytes: Buffer.from('early'),
      }),
    /^HTTP\/1\.1 200 OK\r\n.*POST \/v1 early$/s,
    'taken\n',
  ],
  [
    'a partial one',
    (t) =>
      messageFile(t, {
        headers: [
          ['FD_PASS_VERSION', '1'],
          ['KTLS_RX', '0'],
          ['REQUEST_METHOD', 'GET'],
          ['REQUEST_URI', '/half'],
          ['HTTP_HOST', 'a'],
        ],
      }),
    /^HTTP\/1\.1 200 OK\r\n.*GET \/half $/s,
    'taken\n',
  ],
];
for (const [title, file, stdout, stderr] of sent) {
  test.serial(`send: ${title}`, async (t) => {
    const ended = await FdpassCommand.run(t, ['send', file(t), '--to', `unix:${await server(t)}`]);
    t.is(ended.code, 0, ended.stderr);
    t.regex(ended.stdout, stdout);
    t.is(ended.stderr, stderr);
  });
}

test.serial('send: a message larger than a socket buffer', async (t) => {
  const limits = { maxMessageBytes: 8_000_000, maxHeaderValueBytes: 60_000, maxHeaders: 100 };
  const fields = Array.from({ length: 4 }, (_, at): [string, string] => [`HTTP_X_${at}`, 'x'.repeat(60_000)]);
  const file = messageFile(t, {
    headers: [['REQUEST_METHOD', 'GET'], ['REQUEST_URI', '/large'], ['HTTP_HOST', 'a'], ...fields],
  });
  const path = await server(t, { limits, maxHeaderSize: 1_000_000 });
  const { code, stdout } = await FdpassCommand.run(t, ['send', file, '--to', path]);
  t.is(code, 0);
  t.regex(stdout, /GET \/large $/);
});

test.serial('send: a connection that is kept is said to be open', async (t) => {
  const path = await server(t, { keepAlive: { scope: '/' } });
  const { code, stdout, stderr } = await FdpassCommand.run(t, [
    'send',
    capture('get'),
    '--to',
    path,
    '--timeout',
    '0.5',
  ]);
  t.is(code, 0);
  t.regex(stdout, /GET \/hello $/);
  t.is(stderr, 'the connection is still open after 0.5 s\n');
});

/** A backend that does with handovers what the test says. */
async function receiver(
  t: ExecutionContext,
  onHandover: (handover: Handover) => void,
  options: ReceiverOptions = {},
): Promise<string> {
  const path = join(temporaryFolder(t), 'app.sock');
  const made = new Receiver(options);
  made.on('handover', onHandover);
  made.listen({ path });
  await once(made, 'listening');
  t.teardown(async () => {
    made.destroy();
    await once(made, 'close');
  });
  return path;
}

const VERSION_1 = {
  headers: [
    ['FD_PASS_VERSION', '1'],
    ['REQUEST_METHOD', 'GET'],
  ],
} as const;

test.serial('send: refused is one sentence', async (t) => {
  const path = await receiver(t, closeHandover, { refuse: () => true });
  const ended = await FdpassCommand.run(t, ['send', messageFile(t, VERSION_1), '--to', path]);
  assertOneSentence(t, ended, /The backend unix:\S+ refused the handover/);
});

test.serial('send: no answer is one sentence', async (t) => {
  const path = await receiver(t, closeHandover);
  const ended = await FdpassCommand.run(t, ['send', capture('get'), '--to', path]);
  assertOneSentence(t, ended, /The backend unix:\S+ closed without an answer/);
});

test.serial('send: no answer in time is one sentence', async (t) => {
  const kept: Handover[] = [];
  const path = await receiver(t, (handover) => kept.push(handover));
  const ended = await FdpassCommand.run(t, ['send', capture('get'), '--to', path, '--timeout', '0.5']);
  for (const handover of kept) closeHandover(handover);
  assertOneSentence(t, ended, /The backend unix:\S+ did not answer within 0\.5 s/);
});

test.serial('send: no acknowledgement in time is one sentence', async (t) => {
  const path = join(temporaryFolder(t), 'app.sock');
  const silent = createSilentServer((socket) => void socket.resume());
  await new Promise<void>((resolve) => silent.listen(path, resolve));
  const args = ['send', messageFile(t, VERSION_1), '--to', path, '--timeout', '0.5'];
  const ended = await FdpassCommand.run(t, args);
  await new Promise((resolve) => silent.close(resolve));
  assertOneSentence(t, ended, /The backend unix:\S+ did not acknowledge the handover in time/);
});

test.serial('send: nobody there is one sentence', async (t) => {
  const ended = await FdpassCommand.run(t, ['send', capture('get'), '--to', 'unix:gone.sock']);
  assertOneSentence(t, ended, /The backend unix:\S+gone\.sock could not be reached: .* \(ENOENT/);
});
