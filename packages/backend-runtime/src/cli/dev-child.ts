// The process in which `fdpass dev` runs an application: `fdpass serve` that reports to its parent, and ends with it.
import { describeFailure } from './failure.js';
import { type ServeOptions, serve } from './serve.js';

/** What the parent is told once: it listens, or why it does not. */
export type StartReport = { failure?: string };

// However the parent ended: without it no client comes, and nobody would end this process.
process.once('disconnect', () => process.exit());
if (!process.connected) process.exit();

const [app = '', options = ''] = process.argv.slice(2);
try {
  await serve(app, JSON.parse(options) as ServeOptions);
  process.send?.({} satisfies StartReport);
} catch (error) {
  process.send?.({ failure: describeFailure(error) } satisfies StartReport, () => process.exit(1));
}
