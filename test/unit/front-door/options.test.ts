import test from 'ava';
import { type FrontDoorOptions, frontDoorSettings } from '#runtime/front-door/options.js';

const ROUTE = { port: 8080, to: 'unix:/run/app.sock' };

test('fills in the defaults', (t) => {
  t.deepEqual(frontDoorSettings({ listeners: [ROUTE] }), {
    routes: [
      {
        place: 'listeners[0]',
        host: '127.0.0.1',
        port: 8080,
        fd: undefined,
        rules: [{ place: 'listeners[0]', prefix: undefined, ingress: undefined }],
        backends: ['/run/app.sock'],
      },
    ],
    headTimeoutMs: 10_000,
    idleTimeoutMs: 60_000,
    sendTimeoutMs: 5_000,
    closeTimeoutMs: 10_000,
    maxHeadBytes: 32_768,
    maxConnections: 10_000,
    logger: undefined,
  });
});

const BACKENDS: [to: string | string[], paths: string[]][] = [
  ['unix:/run/a.sock', ['/run/a.sock']],
  ['/run/a.sock', ['/run/a.sock']],
  ['\0name', ['\0name']],
  ['unix:\0name', ['\0name']],
  [
    ['/a', 'unix:/b', '/a'],
    ['/a', '/b', '/a'],
  ],
];
for (const [to, paths] of BACKENDS) {
  test(`a route to ${JSON.stringify(to)} goes to ${JSON.stringify(paths)}`, (t) => {
    t.deepEqual(frontDoorSettings({ listeners: [{ port: 0, to }] }).routes[0]?.backends, paths);
  });
}

const WRONG: [name: string, options: unknown][] = [
  ['listeners', {}],
  ['listeners', { listeners: [] }],
  ['listeners[1].port', { listeners: [ROUTE, { ...ROUTE, port: 65_536 }] }],
  ['listeners[0].port', { listeners: [{ to: '/a' }] }],
  ['listeners[0].host', { listeners: [{ ...ROUTE, host: '' }] }],
  ['listeners[1].prefix', { listeners: [ROUTE, { ...ROUTE, host: '::', prefix: ['192.0.2.0/24'] }] }],
  ['listeners[0].to', { listeners: [{ port: 1 }] }],
  ['listeners[0].to', { listeners: [{ port: 1, to: [] }] }],
  ['listeners[0].to', { listeners: [{ port: 1, to: 'relative.sock' }] }],
  ['listeners[0].to', { listeners: [{ port: 1, to: 'tcp:127.0.0.1:80' }] }],
  ['listeners[0].to', { listeners: [{ port: 1, to: '\0' }] }],
  ['listeners[0].to', { listeners: [{ port: 1, to: '/a\0b' }] }],
  ['listeners[0].to', { listeners: [{ port: 1, to: `/${'a'.repeat(107)}` }] }],
  ['headTimeoutMs', { listeners: [ROUTE], headTimeoutMs: 0 }],
  ['idleTimeoutMs', { listeners: [ROUTE], idleTimeoutMs: 2 ** 31 }],
  ['sendTimeoutMs', { listeners: [ROUTE], sendTimeoutMs: 1.5 }],
  ['closeTimeoutMs', { listeners: [ROUTE], closeTimeoutMs: '1' }],
  ['maxHeadBytes', { listeners: [ROUTE], maxHeadBytes: 65_537 }],
  ['maxHeadBytes', { listeners: [ROUTE], maxHeadBytes: 511 }],
  ['maxConnections', { listeners: [ROUTE], maxConnections: Number.NaN }],
];
for (const [name, options] of WRONG) {
  test(`refuses ${JSON.stringify(options)} and names ${name}`, (t) => {
    const error = t.throws(() => frontDoorSettings(options as FrontDoorOptions), { code: 'BKR_ERR_OPTION' });
    t.true(error?.message.includes(name));
  });
}
