// openLogtail(): one line for each finished request, and for each upgraded connection at its end, to a collector of datagrams. The
// middleware itself; what a line looks like and how it travels is in the files beside it.
import type { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HandoverExtension, HandoverMiddleware } from '../middleware.js';
import { checkOption } from '../option-check.js';
import { accountOf } from '../request-account.js';
import { type CollectorOptions, openCollector } from './collector.js';
import { ConnectionTail, type LineWriter } from './connection-tail.js';
import type { LineBuffer, LineResult } from './line-buffer.js';
import { ESCAPES, type LogEscape } from './log-escape.js';
import { LogFormat } from './log-format.js';
import { type LoggedRequest, LogRecord, type UpgradedConnection } from './log-record.js';

export interface LogtailOptions extends CollectorOptions {
  /** As nginx's `log_format`: text with `$name` and `${name}`. @default nginx's `combined` */
  format?: string;
  /** How values are escaped, as `escape=` of `log_format`. @default 'default' */
  escape?: LogEscape;
  /**
   * Which requests get a line: a function, or as nginx's `if=` a text with variables, that is `0` or empty for those that get none.
   * Asked before the line is made. @default all
   */
  if?: string | ((logged: LoggedRequest) => boolean);
}

type Condition = LogFormat | ((logged: LoggedRequest) => boolean);

/** nginx's predefined format. */
const COMBINED =
  '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"';

/** An open log: give it to `server.use()`, and close it when the servers it is for are closed. */
export class Logtail implements HandoverExtension<EventEmitter>, LineWriter {
  /** @internal */
  readonly usesTcpInfo: boolean;
  readonly #format: LogFormat;
  readonly #condition: Condition | undefined;
  readonly #lines: LineBuffer;
  readonly #record = new LogRecord();
  #connections = 0;
  #hasWarned = false;

  /** @internal */
  constructor(format: LogFormat, condition: Condition | undefined, lines: LineBuffer) {
    this.#format = format;
    this.#condition = condition;
    this.#lines = lines;
    this.usesTcpInfo = format.usesTcpInfo || (condition instanceof LogFormat && condition.usesTcpInfo);
  }

  /** For `server.use()`, which takes the log itself as well. */
  readonly middleware: HandoverMiddleware = (handover, next) => {
    this.#format.prepare(handover.info);
    if (this.#condition instanceof LogFormat) this.#condition.prepare(handover.info);
    handover.observe(new ConnectionTail(this, handover, ++this.#connections));
    next();
  };

  /** A server that is closed has nothing more to say. @internal */
  attach(server: EventEmitter): void {
    server.on('close', () => this.flush());
  }

  /** Lines since the beginning, by what became of them; without those that still wait to be sent. */
  get lines(): Readonly<Record<LineResult, number>> {
    return { ...this.#lines.counts };
  }

  /** Sends what waits, without waiting for more. */
  flush(): void {
    this.#lines.flush();
  }

  /** Sends what waits, within a second, and lets go of the collector. Later lines are `dropped_error`. Idempotent. */
  close(): Promise<void> {
    return this.#lines.close();
  }

  /** @internal */
  onResponse(tail: ConnectionTail, request: IncomingMessage, response: ServerResponse): void {
    const account = accountOf(response);
    if (account === undefined) return;
    this.#record.setResponse(request, response, account);
    this.#write(tail);
  }

  /** @internal */
  onUpgraded(tail: ConnectionTail, upgraded: UpgradedConnection): void {
    this.#record.setUpgraded(upgraded);
    this.#write(tail);
  }

  /** A request must not feel what is wrong with its line. */
  #write({ handover, connection }: ConnectionTail): void {
    const record = this.#record;
    record.handover = handover;
    record.connection = connection;
    try {
      if (this.#condition !== undefined && !holds(this.#condition, record)) return;
      this.#lines.append(this.#format.render(record));
    } catch (error) {
      this.#lines.count('dropped_error');
      if (this.#hasWarned) return;
      this.#hasWarned = true;
      process.emitWarning(`No line for a request: ${error}`, { type: 'LogtailWarning' });
    }
  }
}

/**
 * `const tail = await openLogtail({ to: 'udp://127.0.0.1:5140' }); server.use(tail);`
 * @throws `BKR_ERR_OPTION`, `BKR_ERR_LOG_FORMAT`, `BKR_ERR_LOG_COLLECTOR`
 */
export async function openLogtail(options: LogtailOptions): Promise<Logtail> {
  const { format = COMBINED, escape: mode = 'default' } = options;
  checkOption('format', typeof format === 'string', 'a string');
  checkOption('escape', Object.hasOwn(ESCAPES, mode), Object.keys(ESCAPES).join(', '));
  const compiled = new LogFormat('format', format, mode);
  const condition = compileCondition(options.if);
  return new Logtail(compiled, condition, await openCollector(options));
}

function compileCondition(condition: LogtailOptions['if']): Condition | undefined {
  if (condition === undefined || typeof condition === 'function') return condition;
  checkOption('if', typeof condition === 'string' && condition !== '', 'a function or a text with variables');
  return new LogFormat('if', condition, 'none');
}

function holds(condition: Condition, record: LogRecord): boolean {
  if (!(condition instanceof LogFormat)) return condition(record);
  const value = condition.render(record);
  return value !== '' && value !== '0';
}
