// The three escape modes, byte by byte, as nginx has them.
import test from 'ava';
import { ESCAPES } from '#runtime/logtail/log-escape.js';

const ALL = String.fromCharCode(...Array.from({ length: 256 }, (_, code) => code));

for (const [value, inDefault, inJson] of [
  ['', '', ''],
  ['plain', 'plain', 'plain'],
  ['say "hi"', 'say \\x22hi\\x22', 'say \\"hi\\"'],
  ['C:\\x', 'C:\\x5Cx', 'C:\\\\x'],
  ['a\r\nb\tc', 'a\\x0D\\x0Ab\\x09c', 'a\\r\\nb\\tc'],
  ['\b\f\0\x1b', '\\x08\\x0C\\x00\\x1B', '\\b\\f\\u0000\\u001B'],
  ['\x7f', '\\x7F', '\x7f'],
  ['\xc3\xa4', '\\xC3\\xA4', '\xc3\xa4'],
  ["<'$'>", "<'$'>", "<'$'>"],
] as const) {
  test(`${JSON.stringify(value)} in each mode`, (t) => {
    t.is(ESCAPES.default.value(value), inDefault);
    t.is(ESCAPES.json.value(value), inJson);
    t.is(ESCAPES.none.value(value), value);
  });
}

test('default: what is left of all bytes is printable ASCII', (t) => {
  t.regex(ESCAPES.default.value(ALL), /^[ -~]*$/);
  t.is(
    ESCAPES.default
      .value(ALL)
      .replace(/\\x([0-9A-F]{2})/g, (_all, hex) => String.fromCharCode(Number.parseInt(hex, 16))),
    ALL,
  );
});

test('json: all bytes come back from JSON.parse()', (t) => {
  t.is(JSON.parse(`"${ESCAPES.json.value(ALL)}"`), ALL);
});

test('a variable that is not there', (t) => {
  t.deepEqual(
    (['default', 'json', 'none'] as const).map((mode) => ESCAPES[mode].missing),
    ['-', '', ''],
  );
});
