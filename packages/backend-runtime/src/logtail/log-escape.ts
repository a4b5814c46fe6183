// What nginx's three escape modes make of a value. Values are latin1: one character is one byte.

/** `default` is for logs that people read, `json` for values between the quotes of JSON, `none` for what is trusted. */
export type LogEscape = 'default' | 'json' | 'none';

export interface Escape {
  readonly value: (value: string) => string;
  /** What stands for a variable that is not there. */
  readonly missing: string;
}

const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const DELETE = 0x7f;

/** From 0x7f on everything is a number, in hexadecimal. */
function escapeDefault(value: string): string {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 0x20 || code >= DELETE || code === QUOTE || code === BACKSLASH)
      return rewrite(value, at, hexadecimal);
  }
  return value;
}

/** From 0x7f on everything is left as it is: JSON is UTF-8, and so should the value be. */
function escapeJson(value: string): string {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code < 0x20 || code === QUOTE || code === BACKSLASH) return rewrite(value, at, jsonEscape);
  }
  return value;
}

/** @param from where the first character is that does not stay */
function rewrite(value: string, from: number, escapeCode: (code: number) => string | undefined): string {
  let rewritten = value.slice(0, from);
  for (let at = from; at < value.length; at++) {
    rewritten += escapeCode(value.charCodeAt(at)) ?? value[at];
  }
  return rewritten;
}

const hex = (code: number): string => (code & 0xff).toString(16).toUpperCase().padStart(2, '0');

const hexadecimal = (code: number): string | undefined =>
  code < 0x20 || code >= DELETE || code === QUOTE || code === BACKSLASH ? `\\x${hex(code)}` : undefined;

const SHORT: Readonly<Record<number, string>> = {
  8: '\\b',
  9: '\\t',
  10: '\\n',
  12: '\\f',
  13: '\\r',
  [QUOTE]: '\\"',
  [BACKSLASH]: '\\\\',
};

const jsonEscape = (code: number): string | undefined =>
  SHORT[code] ?? (code < 0x20 ? `\\u00${hex(code)}` : undefined);

export const ESCAPES: Readonly<Record<LogEscape, Escape>> = {
  default: { value: escapeDefault, missing: '-' },
  json: { value: escapeJson, missing: '' },
  none: { value: (value) => value, missing: '' },
};
