// The answers given without an http.ServerResponse.
import test from 'ava';
import { isAnswerStatus, rawAnswer } from '#runtime/raw-answer.js';

test('a whole answer that ends its connection', (t) => {
  t.is(
    rawAnswer(503),
    'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n\r\n503 Service Unavailable\n',
  );
});

test('the headers given come behind', (t) => {
  t.is(
    rawAnswer(426, { Upgrade: 'websocket', 'X-A': '1' }),
    'HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 21\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n426 Upgrade Required\n',
  );
});

test('a status without a name has one all the same', (t) => {
  t.regex(rawAnswer(499), /^HTTP\/1\.1 499 Error\r\n/);
});

test('the length is right for every status', async (t) => {
  for (let status = 400; status <= 599; status++) {
    const [head = '', body = ''] = rawAnswer(status).split('\r\n\r\n');
    t.is(/Content-Length: (\d+)/.exec(head)?.[1], String(Buffer.byteLength(body)));
  }
});

test('errors are 400 to 599', (t) => {
  for (const status of [400, 404, 503, 599]) t.true(isAnswerStatus(status));
  for (const status of [399, 600, 200, 0, -1, 400.5, Number.NaN]) t.false(isAnswerStatus(status));
});
