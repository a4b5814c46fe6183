// From the options that say where lines go to a buffer that sends them there: for the access log and for the pino transport.
import { RuntimeError } from '../errors.js';
import { checkInteger, MAX_TIMER_MS } from '../option-check.js';
import { type DatagramSink, parseCollectorAddress } from './datagram-sink.js';
import { LineBuffer } from './line-buffer.js';
import { openUdpSink } from './udp-sink.js';
import { openUnixSink } from './unix-sink.js';

export interface CollectorOptions {
  /** `udp://host:port`, `unix:/path` or `unix:@name` (an abstract address). Looked up once. */
  to: string;
  /** Lines kept until they are sent, 1024 to 16777216 bytes; twice as much while the kernel has no room. @default 65536 */
  bufferBytes?: number;
  /** Milliseconds a line may wait for others, from 100. @default 1000 */
  flushIntervalMs?: number;
  /** Most bytes of one datagram, from 512: for collectors that read less, or a narrow path. @default what the path carries */
  maxDatagramBytes?: number;
}

const MAX_BUFFER_BYTES = 16 * 1024 * 1024;

/** @throws `BKR_ERR_OPTION`, `BKR_ERR_LOG_COLLECTOR` */
export async function openCollector(options: CollectorOptions): Promise<LineBuffer> {
  const {
    to,
    bufferBytes = 64 * 1024,
    flushIntervalMs = 1000,
    maxDatagramBytes = MAX_BUFFER_BYTES,
  } = options;
  checkInteger('bufferBytes', bufferBytes, 1024, MAX_BUFFER_BYTES);
  checkInteger('flushIntervalMs', flushIntervalMs, 100, MAX_TIMER_MS);
  checkInteger('maxDatagramBytes', maxDatagramBytes, 512, MAX_BUFFER_BYTES);
  return new LineBuffer(await openSink(to), { bufferBytes, flushIntervalMs, maxDatagramBytes });
}

async function openSink(to: string): Promise<DatagramSink> {
  const address = parseCollectorAddress(to);
  try {
    return address.family === 'udp'
      ? await openUdpSink(address.host, address.port)
      : openUnixSink(address.path);
  } catch (cause) {
    throw new RuntimeError('BKR_ERR_LOG_COLLECTOR', to, { cause });
  }
}
