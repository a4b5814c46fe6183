// The stats in a Fastify application: `app.register(statsPlugin, { interfaces: [...] })`.
import fp from 'fastify-plugin';
import type { Registry } from 'prom-client';
import { RuntimeError } from '../errors.js';
import type { HandoverServer } from '../server.js';
import { type InterfaceStats, interfaceStats } from './interface-stats.js';
import type { InterfaceStatsOptions } from './options.js';
import { scrapeListener } from './scrape.js';
import { leaveUncounted } from './uncounted.js';

declare module 'fastify' {
  interface FastifyInstance {
    readonly interfaceStats: InterfaceStats;
  }
  interface FastifyContextConfig {
    /** 'off': requests of this route are not counted. */
    stats?: 'off';
  }
}

export interface StatsPluginOptions extends InterfaceStatsOptions {
  /** The route of the scrape; false for none. @default '/metrics' */
  path?: string | false;
  /** Metrics of prom-client's that the scrape tells as well. */
  registry?: Registry;
}

/**
 * Counts what the application's server serves and answers scrapes at `/metrics`. A route with `config: { stats: 'off' }` is not counted.
 * @throws `BKR_ERR_OPTION`; `BKR_ERR_OTHER_SERVER` if the application has no handoverServer()
 */
export const statsPlugin = fp<StatsPluginOptions>(
  async (app, { path = '/metrics', registry, ...options }) => {
    // Not by its class: the application may have another copy of this package than the command line.
    const server = app.server as Partial<HandoverServer>;
    if (server.use === undefined) throw new RuntimeError('BKR_ERR_OTHER_SERVER');
    const stats = interfaceStats(options);
    server.use(stats);
    app.decorate('interfaceStats', stats);
    app.addHook('onRequest', async ({ routeOptions }, reply) => {
      if (routeOptions.config.stats === 'off') leaveUncounted(reply.raw);
    });
    if (path === false) return;
    const answer = scrapeListener(stats, registry === undefined ? {} : { registry });
    app.get(path, { config: { stats: 'off' }, logLevel: 'warn' }, async (request, reply) => {
      reply.hijack();
      await answer(request.raw, reply.raw);
    });
  },
  { name: '@fdpass/stats', fastify: '5.x' },
);
