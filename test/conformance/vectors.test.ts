// Every vector of the Markdown files: whole, in two chunks at every split point, and byte by byte.

import test, { type ExecutionContext } from 'ava';
import { wireLimits } from '#scgi/limits.js';
import { type Decoded, decodeChunks, decodeWhole, everySplit, type Outcome, singleBytes } from './decode.js';
import { readVectors, unescapeBytes, type Vector } from './vectors.js';

const text = (escaped: string): string => unescapeBytes(escaped).toString('latin1');

function holdsFor(t: ExecutionContext, result: Vector['result'], { outcome, certainAt }: Decoded): void {
  const [[kind, detail] = ['', '']] = result;
  if (kind === 'incomplete') {
    t.deepEqual(outcome, { kind: 'incomplete' });
  } else if (kind === 'error') {
    const [code, , at] = detail.split(' ');
    t.deepEqual(outcome, { kind: 'error', code });
    t.is(certainAt, Number(at), 'judged at the first byte that makes it certain');
  } else if (outcome.kind === 'message') {
    isMessage(t, result, outcome);
  } else {
    t.fail(`not a message: ${JSON.stringify(outcome)}`);
  }
}

function isMessage(
  t: ExecutionContext,
  result: Vector['result'],
  message: Outcome & { kind: 'message' },
): void {
  const values = new Map<string, string[]>();
  for (const [name, value] of message.headers) values.set(name, [...(values.get(name) ?? []), value]);
  const expected = new Map<string, string[]>();
  const facts = { ...message.facts, ...message.way };
  let [earlyBytes, rest] = ['', ''];
  for (const [key, value] of result) {
    if (key === 'get') {
      const [, name = '', wanted = ''] = /^(.*?)=(.*)$/s.exec(text(value)) ?? [];
      expected.set(name, [...(expected.get(name) ?? []), wanted]);
    } else if (key === 'early') earlyBytes = text(value);
    else if (key === 'rest') rest = text(value);
    else if (key === 'headers') t.is(message.headers.length, Number(value));
    else if (key in facts) t.is(String(facts[key as keyof typeof facts]), value, key);
    else t.fail(`unknown line in a result: ${key}`);
  }
  for (const [name, wanted] of expected) t.deepEqual(values.get(name), wanted, name);
  t.is(message.earlyBytes, earlyBytes);
  t.is(message.rest, rest);
}

for (const fileName of ['netstring.md', 'scgi-headers.md', 'message.md', 'passed-on.md']) {
  for (const { title, input, limits: partial, result } of readVectors(fileName)) {
    test(`${fileName}: ${title}`, (t) => {
      const limits = wireLimits(partial);
      const bytewise = decodeChunks(singleBytes(input), limits);
      holdsFor(t, result, bytewise);
      t.deepEqual(decodeChunks([input], limits).outcome, bytewise.outcome, 'whole');
      t.deepEqual(decodeWhole(input, limits), bytewise.outcome, 'whole, among others');
      for (const [head, tail] of everySplit(input)) {
        t.deepEqual(
          decodeChunks([head, tail], limits).outcome,
          bytewise.outcome,
          `split after ${head.length}`,
        );
      }
    });
  }
}
