// Reads the conformance vectors out of Markdown. The notation is explained in netstring.md.

import { readFileSync } from 'node:fs';

/** One vector: a second-level heading with its fenced blocks. */
export interface Vector {
  title: string;
  input: Buffer;
  limits: Record<string, number>;
  /** Lines of the result block: the first word, and what follows it. */
  result: [key: string, value: string][];
}

/** Where the vectors and captures lie, seen from the compiled tests. */
export const CONFORMANCE_FOLDER: URL = new URL('../../../test/conformance/', import.meta.url);

/** Reads one file; a heading without input and result is an error, so that no vector is skipped by a slip of the pen. */
export function readVectors(fileName: string): Vector[] {
  const text = readFileSync(new URL(fileName, CONFORMANCE_FOLDER), 'utf8');
  return text
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const title = section.slice(0, section.indexOf('\n'));
      const blocks = new Map<string, string>();
      for (const [, kind = '', body = ''] of section.matchAll(/^```(\w+)\n(.*?)^```$/gms))
        blocks.set(kind, body);
      const input = blocks.get('input');
      const result = blocks.get('result');
      if (input === undefined || result === undefined)
        throw new Error(`${fileName}: no input or result in "${title}"`);
      return {
        title,
        input: unescapeBytes(input),
        limits: Object.fromEntries(
          lines(blocks.get('limits') ?? '').map(([name, value]) => [name, Number(value)]),
        ),
        result: lines(result),
      };
    });
}

/** The bytes an escaped literal stands for; line breaks do not count. */
export function unescapeBytes(literal: string): Buffer {
  const characters = literal.replaceAll('\n', '').replace(/\\(x[0-9a-f]{2}|.)/g, (whole, code: string) => {
    if (code.startsWith('x')) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
    const byte = { '0': '\0', n: '\n', r: '\r', t: '\t', '\\': '\\' }[code];
    if (byte === undefined) throw new Error(`unknown escape ${whole}`);
    return byte;
  });
  return Buffer.from(characters, 'latin1');
}

function lines(block: string): [string, string][] {
  return block
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const space = line.indexOf(' ');
      return space === -1 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)];
    });
}
