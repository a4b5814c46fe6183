// Parts of requests and answers as nginx's variables have them.
import test from 'ava';
import {
  argument,
  basicUser,
  cookie,
  hostOf,
  normalPath,
  queryOf,
  sentHeader,
} from '#runtime/logtail/log-values.js';

type Case = readonly [input: string, expected: string | undefined];

function table(title: string, read: (input: string) => string | undefined, cases: readonly Case[]): void {
  for (const [input, expected] of cases) {
    test(`${title}: ${JSON.stringify(input)}`, (t) => {
      t.is(read(input), expected);
    });
  }
}

table('uri', normalPath, [
  ['/', '/'],
  ['/a/b.html', '/a/b.html'],
  ['/a?b=/../c', '/a'],
  ['/a//b///c/', '/a/b/c/'],
  ['/a/./b/../c', '/a/c'],
  ['/a/b/..', '/a/'],
  ['/a/.', '/a/'],
  ['/..', '/'],
  ['/a/...', '/a/...'],
  ['/.hidden', '/.hidden'],
  ['/%41%2fb', '/A/b'],
  ['/a%3Fb', '/a?b'],
  ['/%zz', '/%zz'],
  ['/%C3%A4', '/\xc3\xa4'],
  ['/a#b', '/a'],
  ['http://host.test/a/b?c', '/a/b'],
  ['http://host.test', '/'],
]);

table('args', queryOf, [
  ['/', undefined],
  ['/?', undefined],
  ['/?#a', undefined],
  ['/?a=b', 'a=b'],
  ['/?a=b#c', 'a=b'],
  ['/#a?b', undefined],
  ['/?a?b', 'a?b'],
]);

table('arg_name', (query) => argument(query, 'name'), [
  ['', undefined],
  ['name=1', '1'],
  ['NAME=1', '1'],
  ['name', undefined],
  ['name=', ''],
  ['a=1&name=2&name=3', '2'],
  ['surname=1', undefined],
  ['name2=1', undefined],
  ['&&name=a=b', 'a=b'],
]);

table('cookie_id', (header) => cookie(header, 'id'), [
  ['', undefined],
  ['id=1', '1'],
  ['a=b; id=2; c=d', '2'],
  ['a=b;id=2', '2'],
  ['Id=1', '1'],
  ['hid=1', undefined],
  ['id', undefined],
  ['id=', ''],
]);

table('remote_user', basicUser, [
  [`Basic ${btoa('ann:secret')}`, 'ann'],
  [`basic ${btoa('ann:se:cret')}`, 'ann'],
  [`Basic ${btoa('ann')}`, undefined],
  [`Basic ${btoa(':secret')}`, undefined],
  ['Bearer abc', undefined],
  ['Basic', undefined],
]);

table('host', hostOf, [
  ['Example.TEST', 'example.test'],
  ['example.test:8080', 'example.test'],
  ['example.test.', 'example.test'],
  ['[2001:DB8::1]:80', '[2001:db8::1]'],
  ['[2001:db8::1]', '[2001:db8::1]'],
  ['', undefined],
]);

const HEAD = 'HTTP/1.1 200 OK\r\nX-One: 1\r\nx-two:2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Empty: \r\n\r\n';
table('sent_http', (name) => sentHeader(HEAD, name), [
  ['x-one', '1'],
  ['x-two', '2'],
  ['set-cookie', 'a, b'],
  ['x-empty', ''],
  ['x', undefined],
  ['http/1.1 200 ok', undefined],
]);

test('an answer that was not begun has no fields', (t) => {
  t.is(sentHeader('', 'x-one'), undefined);
});
