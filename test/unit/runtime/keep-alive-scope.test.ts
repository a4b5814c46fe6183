// Which later requests of a connection get 421: what the web server's operator did not judge.
import test from 'ava';
import { isMisdirected } from '#runtime/keep-alive-scope.js';

const HOST = 'example.org';
type Row = [target: string, scope: string, misdirected: boolean, host?: string];

const rows: Row[] = [
  // inside, and outside
  ['/', '/', false],
  ['/anything?x=1', '/', false],
  ['/app/', '/app/', false],
  ['/app/x', '/app/', false],
  ['/app/x?to=/admin/../', '/app/', false],
  ['/app/deep/er/', '/app/', false],
  ['/app', '/app/', true],
  ['/admin', '/app/', true],
  ['/', '/app/', true],
  ['/APP/x', '/app/', true],
  // a prefix, as nginx's locations are
  ['/app-two', '/app', false],
  ['/ap', '/app', true],
  // compared decoded
  ['/%61pp/x', '/app/', false],
  ['/app/a%20b', '/app/', false],
  ['/app/%E2%82%AC', '/app/', false],
  ['/a b/x', '/a b/', false],
  ['/a%20b/x', '/a b/', false],
  ['/app/%zz', '/app/', true],
  ['/app/%', '/app/', true],
  ['/app/%ff', '/app/', true],
  // raw and normal forms disagree
  ['/app/../admin', '/app/', true],
  ['/app/./x', '/app/', true],
  ['/app/x/..', '/app/', true],
  ['/app/%2e%2e/admin', '/app/', true],
  ['/app/.%2E/admin', '/app/', true],
  ['/app/%2e/x', '/app/', true],
  ['/app//x', '/app/', true],
  ['//app/x', '/app/', true],
  ['//', '/', true],
  ['/app/..%2fadmin', '/app/', true],
  ['/app/%2Fx', '/app/', true],
  ['/app/%5c..%5cadmin', '/app/', true],
  ['/app/..\\admin', '/app/', true],
  ['/app/x%00', '/app/', true],
  // a fragment, which the web server does not see and the application may
  ['/app/#/../../admin', '/app/', true],
  ['/app/?x#y', '/app/', true],
  ['/app/...', '/app/', false],
  ['/app/.well-known', '/app/', false],
  ['/app/%252e%252e/x', '/app/', false],
  // not a path
  ['*', '/', false],
  ['*', '/app/', true],
  ['http://example.org/app/', '/', true],
  ['example.org:443', '/', true],
  ['', '/', true],
  ['?x', '/', true],
  // another host
  ['/', '/', true, 'other.example'],
  ['/', '/', true, 'example.org:8080'],
  ['/', '/', false, 'EXAMPLE.org'],
  ['*', '/', true, 'other.example'],
];
for (const [target, scope, misdirected, host = HOST] of rows) {
  const other = host === HOST ? '' : ` for ${host}`;
  test(`${JSON.stringify(target)}${other} in ${scope}: ${misdirected ? '421' : 'served'}`, (t) => {
    t.is(isMisdirected(target, host, { scope, host: HOST }), misdirected);
  });
}

test('a Host where the first request had none, or none where it had one, is another', (t) => {
  t.true(isMisdirected('/', undefined, { scope: '/', host: HOST }));
  t.true(isMisdirected('/', HOST, { scope: '/', host: undefined }));
  t.false(isMisdirected('/', undefined, { scope: '/', host: undefined }));
});
