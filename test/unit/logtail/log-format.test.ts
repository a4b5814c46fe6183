// Formats: what is text and what a variable, and what is refused, with its place.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: nginx writes names so.
import { readFileSync } from 'node:fs';
import test from 'ava';
import type { LogEscape } from '#runtime/logtail/log-escape.js';
import { LogFormat } from '#runtime/logtail/log-format.js';
import { LogRecord } from '#runtime/logtail/log-record.js';
import { VARIABLE_NAMES } from '#runtime/logtail/log-variables.js';

const KINDS = new Set(['full', 'partial', 'relay']);

interface Request {
  url?: string;
  headers?: Record<string, string | string[]>;
}

function render(
  format: string,
  { url = '/a?b=1', headers = {} }: Request = {},
  mode: LogEscape = 'default',
): string {
  const record = new LogRecord();
  record.request = {
    method: 'GET',
    url,
    httpVersion: '1.1',
    headers,
    rawHeaders: Object.entries(headers).flatMap(([name, value]) =>
      [value].flat().flatMap((each) => [name, each]),
    ),
  } as unknown as LogRecord['request'];
  record.handover = {
    info: {
      client: { family: 'IPv4', address: '192.0.2.7', port: 4711 },
      isEncrypted: false,
      handover: 'full',
    },
    headers: new Map([['SERVER_NAME', 'server.test']]),
  } as unknown as LogRecord['handover'];
  record.status = 200;
  return new LogFormat('format', format, mode).render(record);
}

for (const [format, line] of [
  ['', ''],
  ['text', 'text'],
  ['$status', '200'],
  ['[$status]', '[200]'],
  ['$status$status', '200200'],
  ['${status}0', '2000'],
  ['$status-${request_method}x$handover', '200-GETxfull'],
  ['$remote_addr:$remote_port', '192.0.2.7:4711'],
  ['$request_uri $uri $args $query_string', '/a?b=1 /a b=1 b=1'],
  ['"$request"', '"GET /a?b=1 HTTP/1.1"'],
  ['$source_tag', '-'],
  ['tab\tand }{', 'tab\tand }{'],
] as const) {
  test(`${JSON.stringify(format)} is ${JSON.stringify(line)}`, (t) => {
    t.is(render(format), line);
  });
}

for (const [format, place, what] of [
  ['$', 1, 'no name follows the "$"'],
  ['cost: 5$', 8, 'no name follows the "$"'],
  ['$$status', 1, 'no name follows the "$"'],
  ['$-', 1, 'no name follows the "$"'],
  ['${}', 1, 'no name follows the "$"'],
  ['a ${status', 3, '"${status" has no closing brace'],
  ['${sta tus}', 1, '"${sta" has no closing brace'],
  ['$status $nothing', 9, 'there is no variable $nothing'],
  ['$http_', 1, 'there is no variable $http_'],
  ['$constructor', 1, 'there is no variable $constructor'],
  ['$__proto__', 1, 'there is no variable $__proto__'],
  ['$STATUS', 1, 'there is no variable $STATUS'],
  ['$status200', 1, 'there is no variable $status200'],
] as const) {
  test(`${JSON.stringify(format)} is refused`, (t) => {
    t.throws(() => new LogFormat('format', format, 'default'), {
      code: 'BKR_ERR_LOG_FORMAT',
      message: `The option format is wrong at character ${place}: ${what}`,
    });
  });
}

test('text is UTF-8, whatever is around it', (t) => {
  t.is(Buffer.from(render('zürich → $status'), 'latin1').toString(), 'zürich → 200');
});

test('bytes of a client leave as they came where they are not escaped', (t) => {
  const headers = { 'user-agent': '\xc3\xa4"\\\x01' };
  t.is(render('$http_user_agent', { headers }, 'none'), '\xc3\xa4"\\\x01');
  t.is(render('$http_user_agent', { headers }, 'json'), '\xc3\xa4\\"\\\\\\u0001');
  t.is(render('$http_user_agent', { headers }), '\\xC3\\xA4\\x22\\x5C\\x01');
});

test('there, empty, and not there', (t) => {
  const headers = { 'x-empty': '' };
  t.is(render('$http_x_empty,$http_x_none', { headers }), ',-');
  t.is(render('$http_x_empty,$http_x_none', { headers }, 'json'), ',');
  t.is(render('$args,$is_args', { url: '/' }), '-,');
  t.is(render('$args,$is_args', { url: '/?' }), '-,');
  t.is(render('$args,$is_args', { url: '/?a' }), 'a,?');
});

test('what the kernel says of TLS', (t) => {
  const record = new LogRecord();
  const tls = { version: 'TLSv1.3', cipher: 'AES-128-GCM' };
  record.handover = { info: { isEncrypted: true, tls } } as unknown as LogRecord['handover'];
  const format = new LogFormat('format', '$scheme $https $ssl_protocol $ssl_cipher', 'default');
  t.is(format.render(record), 'https on TLSv1.3 AES-128-GCM');
});

test('a value is escaped anew when it changes', (t) => {
  const format = new LogFormat('format', '$arg_a', 'default');
  const record = new LogRecord();
  const lines = ['/?a="', '/?a="', '/?a=b', '/', '/?a=', '/?a="'].map((url) => {
    record.request = { url } as LogRecord['request'];
    return format.render(record);
  });
  t.deepEqual(lines, ['\\x22', '\\x22', 'b', '-', '', '\\x22']);
});

test('every variable that the documents name is there, and no other', (t) => {
  const text = readFileSync(new URL('../../../../docs/configuration.md', import.meta.url), 'utf8');
  const paragraph = /^nginx's variables: (.*?)They differ/ms.exec(text)?.[1] ?? '';
  const named = [...paragraph.matchAll(/`([a-z_0-9]+)`/g)]
    .map(([, name]) => name)
    .filter((name) => !KINDS.has(name ?? ''));
  t.deepEqual(named.sort(), [...VARIABLE_NAMES].sort());
});
