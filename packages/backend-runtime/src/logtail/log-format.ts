// nginx's log_format: text with $name and ${name}, parsed once and refused where nginx would refuse it. Lines are latin1: one
// character is one byte, so that what a client sent leaves as it came.

import type { ConnectionFacts } from '../connection-info.js';
import { RuntimeError } from '../errors.js';
import { ESCAPES, type LogEscape } from './log-escape.js';
import type { LogRecord } from './log-record.js';
import { COMPOSED, findVariable, type LogVariable } from './log-variables.js';

/** A variable and the text behind it. */
type Part = (record: LogRecord) => string;

/** A format that is ready to be rendered. */
export class LogFormat {
  readonly #variables: readonly LogVariable[];
  /** What stands before the first variable. */
  readonly #begin: string;
  readonly #parts: readonly Part[];

  /**
   * @param option what to call it in an error
   * @throws `BKR_ERR_LOG_FORMAT`
   */
  constructor(option: string, text: string, mode: LogEscape) {
    const { texts, variables } = parse(option, text);
    const [begin = '', ...behind] = texts;
    this.#begin = begin;
    this.#variables = variables;
    this.#parts = variables.map(({ read }, nth) => part(read, behind[nth] as string, mode));
  }

  /** Asks what can only be asked while the connection is open. */
  prepare(info: ConnectionFacts): void {
    for (const { prepare } of this.#variables) prepare?.(info);
  }

  get usesTcpInfo(): boolean {
    return this.#variables.some(({ usesTcpInfo }) => usesTcpInfo === true);
  }

  /** Without a line break at its end. */
  render(record: LogRecord): string {
    let line = this.#begin;
    for (const part of this.#parts) line += part(record);
    return line;
  }
}

function part(read: LogVariable['read'], behind: string, mode: LogEscape): Part {
  const { value: escaped, missing } = ESCAPES[mode];
  // Most of a line is as in the one before: comparing it costs less than looking at each character and putting it together.
  let lastValue: string | undefined;
  let lastText = missing + behind;
  return (record) => {
    const value = read(record);
    if (value !== lastValue) {
      lastText = (value === undefined ? missing : escaped(value)) + behind;
      lastValue = value;
    }
    return lastText;
  };
}

interface Parsed {
  /** What stands before, between and behind the variables. */
  texts: string[];
  variables: LogVariable[];
}

const NAME = /[A-Za-z0-9_]*/y;

function parse(option: string, format: string): Parsed {
  const texts: string[] = [];
  const variables: LogVariable[] = [];
  let at = 0;
  for (;;) {
    const dollarAt = format.indexOf('$', at);
    texts.push(bytesOf(dollarAt === -1 ? format.slice(at) : format.slice(at, dollarAt)));
    if (dollarAt === -1) return { texts, variables };
    const isBraced = format[dollarAt + 1] === '{';
    NAME.lastIndex = dollarAt + (isBraced ? 2 : 1);
    const name = NAME.exec(format)?.[0] ?? '';
    at = NAME.lastIndex;
    const refuse = (what: string): RuntimeError =>
      new RuntimeError('BKR_ERR_LOG_FORMAT', option, dollarAt + 1, what);
    if (isBraced && format[at++] !== '}') throw refuse(`"\${${name}" has no closing brace`);
    if (name === '') throw refuse('no name follows the "$"');
    const composed = Object.hasOwn(COMPOSED, name) ? parse(option, COMPOSED[name] as string) : undefined;
    if (composed !== undefined) {
      // It begins and ends with a variable.
      texts.push(...composed.texts.slice(1, -1));
      variables.push(...composed.variables);
      continue;
    }
    const variable = findVariable(name);
    if (variable === undefined) throw refuse(`there is no variable $${name}`);
    variables.push(variable);
  }
}

const bytesOf = (text: string): string => Buffer.from(text).toString('latin1');
