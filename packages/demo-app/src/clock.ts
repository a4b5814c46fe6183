// GET /clock: Server-Sent Events (HTML standard, section 9.2), one each second. Owns one timer for all clients.
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';

const RETRY_MS = 2_000;
/** A client that comes back is sent at most so many of the events it missed. */
const MAX_REPLAYED_EVENTS = 30;
/** What may wait for a client that does not read; beyond it events are left out, and its next one is current again. */
const MAX_QUEUED_BYTES = 16 * 1024;

interface Subscriber {
  stream: Readable;
  /** Unix time in seconds of the last event sent: also the event's id, the same in every process. */
  lastSecond: number;
}

const unixSeconds = (): number => Math.floor(Date.now() / 1000);

const event = (second: number): string => `id: ${second}\ndata: ${new Date(second * 1000).toISOString()}\n\n`;

function tell(subscriber: Subscriber, now: number): void {
  const { stream, lastSecond } = subscriber;
  if (now === lastSecond) return;
  // After a stall of this process seconds are missing; after a step back of the system clock only the present one counts.
  const first = now > lastSecond ? Math.max(lastSecond + 1, now - MAX_REPLAYED_EVENTS + 1) : now;
  for (let second = first; second <= now; second += 1) {
    if (stream.readableLength > MAX_QUEUED_BYTES) break;
    stream.push(event(second));
  }
  subscriber.lastSecond = now;
}

/** The second named by Last-Event-ID if a client can have it from here, else undefined. */
function lastSecondOf(header: string | string[] | undefined, now: number): number | undefined {
  if (typeof header !== 'string' || !/^\d{1,12}$/.test(header)) return undefined;
  const second = Number(header);
  return second <= now ? second : undefined;
}

export async function clock(app: FastifyInstance): Promise<void> {
  const subscribers = new Set<Subscriber>();
  let timer: NodeJS.Timeout | undefined;

  const wait = (): void => {
    timer = setTimeout(
      () => {
        const now = unixSeconds();
        for (const subscriber of subscribers) tell(subscriber, now);
        wait();
      },
      1000 - (Date.now() % 1000),
    );
  };

  // An endless answer: without a HEAD route, or HEAD would subscribe a client that never reads.
  app.get('/clock', { exposeHeadRoute: false }, (request, reply) => {
    const now = unixSeconds();
    const stream = new Readable({
      read() {},
      destroy(error, callback) {
        subscribers.delete(subscriber);
        if (subscribers.size === 0) clearTimeout(timer);
        callback(error);
      },
    });
    const subscriber: Subscriber = {
      stream,
      lastSecond: lastSecondOf(request.headers['last-event-id'], now) ?? now - 1,
    };
    if (subscribers.size === 0) wait();
    subscribers.add(subscriber);
    stream.push(`retry: ${RETRY_MS}\n\n`);
    tell(subscriber, now);
    return reply
      .header('content-type', 'text/event-stream; charset=utf-8')
      .header('cache-control', 'no-store, no-transform')
      .header('x-accel-buffering', 'no') // on the relay path nginx would otherwise collect the events
      .send(stream);
  });

  // close() waits for answers under way, and these never end by themselves.
  app.addHook('preClose', async () => {
    for (const { stream } of subscribers) stream.push(null);
    subscribers.clear();
    clearTimeout(timer);
  });
}
