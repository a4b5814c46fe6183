// Pages and datagrams of lines, and what is counted, with a sink that the test decides for.
import test, { type ExecutionContext } from 'ava';
import type { DatagramResult, DatagramSink } from '#runtime/logtail/datagram-sink.js';
import { LineBuffer, type LineBufferOptions } from '#runtime/logtail/line-buffer.js';

class HeldSink implements DatagramSink {
  maxDatagramBytes = 100;
  isClosed = false;
  readonly datagrams: string[] = [];
  readonly held: ((result: DatagramResult) => void)[] = [];

  send(datagram: Uint8Array, onDone: (result: DatagramResult) => void): void {
    this.datagrams.push(Buffer.from(datagram).toString('latin1'));
    this.held.push(onDone);
  }

  release(result: DatagramResult = 'sent'): void {
    for (const onDone of this.held.splice(0)) onDone(result);
  }

  close(): void {
    this.isClosed = true;
    this.release('dropped_full');
  }
}

function open(
  t: ExecutionContext,
  options: Partial<LineBufferOptions> = {},
): { sink: HeldSink; lines: LineBuffer } {
  const sink = new HeldSink();
  const lines = new LineBuffer(sink, {
    bufferBytes: 1024,
    flushIntervalMs: 60_000,
    maxDatagramBytes: 4096,
    ...options,
  });
  t.teardown(() => {
    sink.release();
    return lines.close();
  });
  return { sink, lines };
}

test('nothing leaves before it is asked for or the page is full', (t) => {
  const { sink, lines } = open(t);
  lines.append('one');
  lines.append('two');
  t.deepEqual(sink.datagrams, []);
  lines.flush();
  t.deepEqual(sink.datagrams, ['one\ntwo\n']);
  lines.flush();
  t.is(sink.datagrams.length, 1);
  t.is(lines.counts.sent, 0);
  sink.release();
  t.is(lines.counts.sent, 2);
});

test('a datagram has as many whole lines as fit', (t) => {
  const { sink, lines } = open(t);
  for (let nth = 0; nth < 10; nth++) lines.append(String(nth).repeat(32));
  lines.flush();
  t.deepEqual(
    sink.datagrams.map((datagram) => datagram.split('\n').length - 1),
    [3, 3, 3, 1],
  );
  t.is(
    sink.datagrams.join(''),
    Array.from({ length: 10 }, (_, nth) => `${String(nth).repeat(32)}\n`).join(''),
  );
});

for (const [length, isSent] of [
  [99, true],
  [100, false],
] as const) {
  test(`a line of ${length} characters and its break ${isSent ? 'fit' : 'do not fit'} into 100 bytes`, (t) => {
    const { sink, lines } = open(t);
    lines.append('x'.repeat(length));
    lines.append('short');
    lines.flush();
    sink.release();
    t.is(lines.counts.sent, isSent ? 2 : 1);
    t.is(lines.counts.dropped_too_long, isSent ? 0 : 1);
  });
}

test('the option makes datagrams smaller, not larger', (t) => {
  for (const [maxDatagramBytes, count] of [
    [50, 4],
    [1000, 2],
  ] as const) {
    const { sink, lines } = open(t, { maxDatagramBytes });
    for (let nth = 0; nth < 4; nth++) lines.append('x'.repeat(40));
    lines.flush();
    t.is(sink.datagrams.length, count);
  }
});

test('while the sink has one page the other is filled; when both are out, lines are dropped and counted', (t) => {
  const { sink, lines } = open(t);
  const line = 'x'.repeat(63);
  for (let nth = 0; nth < 32; nth++) lines.append(line);
  t.is(lines.counts.dropped_full, 0);
  for (let nth = 0; nth < 5; nth++) lines.append(line);
  t.is(lines.counts.dropped_full, 5);
  sink.release();
  t.is(lines.counts.sent, 32);
  lines.append(line);
  lines.flush();
  sink.release();
  t.deepEqual(lines.counts, { sent: 33, dropped_full: 5, dropped_error: 0, dropped_too_long: 0 });
});

test('what was in a page is not changed while the sink has it', (t) => {
  const { sink, lines } = open(t);
  const views: Uint8Array[] = [];
  sink.send = (datagram, onDone) => {
    views.push(datagram);
    sink.held.push(onDone);
  };
  lines.append('first');
  lines.flush();
  for (let nth = 0; nth < 100; nth++) lines.append('second');
  t.is(Buffer.from(views[0] as Uint8Array).toString(), 'first\n');
});

test('each result is counted in lines', (t) => {
  const { sink, lines } = open(t);
  for (let nth = 0; nth < 4; nth++) lines.append('x'.repeat(40));
  lines.flush();
  sink.held.shift()?.('dropped_error');
  sink.release();
  t.deepEqual(lines.counts, { sent: 2, dropped_full: 0, dropped_error: 2, dropped_too_long: 0 });
});

test('closing sends what is there, and waits until it is taken', async (t) => {
  const { sink, lines } = open(t);
  lines.append('last');
  const closing = lines.close();
  t.deepEqual(sink.datagrams, ['last\n']);
  t.false(sink.isClosed);
  sink.release();
  await closing;
  t.true(sink.isClosed);
  t.is(lines.counts.sent, 1);
  lines.append('too late');
  t.is(lines.counts.dropped_error, 1);
});

test('closing waits for a second, and no longer', async (t) => {
  const { sink, lines } = open(t);
  lines.append('last');
  await lines.close();
  t.true(sink.isClosed);
  t.is(lines.counts.dropped_full, 1);
});
