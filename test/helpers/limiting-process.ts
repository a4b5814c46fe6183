// limitClients() alone, in a process whose heap can be measured: `addresses FROM COUNT` lets that many different addresses come
// and go, and answers how many bytes of heap are in use then.
import { setTimeout as delay } from 'node:timers/promises';
import { type IncomingHandover, limitClients } from '@fdpass/backend-runtime';
import { decodeScgiHeaders, defaultWireLimits, encodeScgiHeaders } from '@fdpass/scgi-fdpass';
import { ConnectionFacts } from '#runtime/connection-info.js';
import { IncomingHandover as Incoming } from '#runtime/middleware.js';

const middleware = limitClients({ maxConnections: 10, requestsPerSecond: 1000, burst: 10 });

function comeAndGo(address: string): void {
  const payload = encodeScgiHeaders([
    ['CONTENT_LENGTH', '0'],
    ['SCGI', '1'],
    ['REMOTE_ADDR', address],
  ]);
  const handover = {
    kind: 'relay',
    version: 0,
    headers: decodeScgiHeaders(payload, defaultWireLimits),
    sender: { pid: 0, uid: 0, gid: 0 },
    hops: 0,
    earlyBytes: Buffer.alloc(0),
    contentLength: 0,
  } as never;
  const incoming = new Incoming(handover, new ConnectionFacts(handover, () => undefined), () => {});
  middleware(incoming as IncomingHandover, () => {});
  for (const guard of incoming.guards) guard({} as never);
  incoming.tellClosed(false);
}

process.on('message', async (command: string) => {
  const [, from, count] = command.split(' ').map(Number) as [number, number, number];
  for (let nth = from; nth < from + count; nth++) {
    comeAndGo(`10.${(nth >> 16) & 255}.${(nth >> 8) & 255}.${nth & 255}`);
    // Tokens take their time to be earned back.
    if (nth % 1000 === 0) await delay(1);
  }
  await delay(50);
  globalThis.gc?.();
  process.send?.(process.memoryUsage().heapUsed);
});
process.send?.('ready');
