// A server that says how much it has allocated: heap and buffers, counted by not collecting any garbage in between. Started with a
// young generation that has room for all of it.
//
// Arguments: the path it listens on, `lean` or `ordinary`.
import { PerformanceObserver } from 'node:perf_hooks';
import { createServer, type HandoverServerOptions } from '@fdpass/backend-runtime';

/** What the process is told: `begin` collects garbage and starts to count, `end` asks for what came since. */
export type Question = 'begin' | 'end';

/** What was allocated, in bytes; `ready` when it listens and when it begins to count. */
export type Answer =
  | 'ready'
  | { readonly heap: number; readonly external: number; readonly collections: number };

const HELLO = JSON.stringify({ hello: 'world' });
const [path = '', kind] = process.argv.slice(2);

let collections = 0;
let before = process.memoryUsage();
new PerformanceObserver((list) => {
  collections += list.getEntries().length;
}).observe({ entryTypes: ['gc'] });

const say = (answer: Answer): void => void process.send?.(answer);

process.on('message', (question: Question) => {
  if (question === 'begin') {
    globalThis.gc?.();
    // What the collection itself is reported by comes first.
    setTimeout(() => {
      collections = 0;
      before = process.memoryUsage();
      say('ready');
    }, 100);
    return;
  }
  const { heapUsed, external } = process.memoryUsage();
  const counted = { heap: heapUsed - before.heapUsed, external: external - before.external };
  setTimeout(() => say({ ...counted, collections }), 100);
});
process.on('disconnect', () => process.exit());

const options: HandoverServerOptions & { lean?: boolean } = { keepAlive: { scope: '/' } };
const server = createServer(kind === 'lean' ? options : { ...options, lean: false });
server.on('request', (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': HELLO.length });
  response.end(HELLO);
});
server.listen({ path }, () => say('ready'));
