// A pino transport: the application's own log to a collector of datagrams, one for each line, by the way the access log goes. It runs in
// pino's worker thread.
import type { Transform } from 'node:stream';
import build from 'pino-abstract-transport';
import { type CollectorOptions, openCollector } from './collector.js';

/** pino wants an object of each line; nothing here looks into it. */
const LINE = {};

/**
 * `pino({ transport: { target: '@fdpass/backend-runtime/pino-transport', options: { to: 'udp://127.0.0.1:5140' } } })`
 * @throws `BKR_ERR_OPTION`, `BKR_ERR_LOG_COLLECTOR`; pino emits them as `'error'` of the transport
 */
export default async function pinoTransport(options: CollectorOptions): Promise<Transform> {
  const lines = await openCollector(options);
  const send = async (source: Transform): Promise<void> => {
    for await (const line of source) lines.append(Buffer.from(line).toString('latin1'));
  };
  const close = async (): Promise<void> => {
    await lines.close();
    // The counters are in this thread, where nobody else can read them.
    const { sent: _, ...dropped } = lines.counts;
    const told = Object.entries(dropped).filter(([, count]) => count > 0);
    if (told.length > 0) {
      const numbers = told.map(([result, count]) => `${result} ${count}`).join(', ');
      process.emitWarning(`Lines of the log that were not sent: ${numbers}`, { type: 'LogtailWarning' });
    }
  };
  return build(send, { parse: 'lines', parseLine: () => LINE, metadata: false, close });
}
