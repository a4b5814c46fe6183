// What listen() may be called with: net.Server's forms for UNIX sockets, and ours.
import test from 'ava';
import { listenArguments } from '#runtime/listen-arguments.js';

const onListening = (): void => {};
const { signal } = new AbortController();

const forms: [title: string, args: unknown[], expected: ReturnType<typeof listenArguments>][] = [
  [
    'a path',
    ['/run/a.sock'],
    { address: { path: '/run/a.sock' }, signal: undefined, onListening: undefined },
  ],
  [
    'a path and a listener',
    ['/run/a.sock', onListening],
    { address: { path: '/run/a.sock' }, signal: undefined, onListening },
  ],
  [
    'a path, a backlog and a listener',
    ['/run/a.sock', 16, onListening],
    { address: { path: '/run/a.sock', backlog: 16 }, signal: undefined, onListening },
  ],
  [
    'an abstract name',
    ['\0name'],
    { address: { path: '\0name' }, signal: undefined, onListening: undefined },
  ],
  [
    'a relative path that begins with digits',
    ['8080.sock'],
    { address: { path: '8080.sock' }, signal: undefined, onListening: undefined },
  ],
  [
    'all options of a path',
    [
      { path: 'a', mode: 0o600, owner: 'www-data', group: 33, backlog: 5, takeover: true, signal },
      onListening,
    ],
    {
      address: { path: 'a', mode: 0o600, owner: 'www-data', group: 33, backlog: 5, takeover: true },
      signal,
      onListening,
    },
  ],
  ['a descriptor', [{ fd: 3, host: '' }], { address: { fd: 3 }, signal: undefined, onListening: undefined }],
  ['descriptor 0', [{ fd: 0 }], { address: { fd: 0 }, signal: undefined, onListening: undefined }],
  [
    'a path beside an fd that is not set',
    [{ path: 'a', fd: undefined }],
    { address: { path: 'a' }, signal: undefined, onListening: undefined },
  ],
];
for (const [title, args, expected] of forms) {
  test(`listen() takes ${title}`, (t) => {
    t.deepEqual(listenArguments(args), expected);
  });
}

const refused: [title: string, args: unknown[]][] = [
  ['nothing', []],
  ['a listener alone', [onListening]],
  ['a port', [8080]],
  ['port 0', [0, '127.0.0.1']],
  ['a port as a string', ['8080']],
  ['a port in an object', [{ port: 8080, host: '127.0.0.1' }]],
  ['null', [null]],
  ['an empty path', ['']],
  ['an empty path in an object', [{ path: '' }]],
  ['a path that is no string', [{ path: 7 }]],
  ['a descriptor that is no number', [{ fd: '3' }]],
];
for (const [title, args] of refused) {
  test(`listen() refuses ${title}, and says what to do`, (t) => {
    t.throws(() => listenArguments(args), {
      code: 'BKR_ERR_LISTEN_ADDRESS',
      message: /listen\(\{ path \}\).*front door/,
    });
  });
}
