// GET /metrics: what the server has counted, by the interface that clients came in by. Only handovers are counted: a server that accepts
// its clients itself has no such route.
import { type StatsPluginOptions, statsPlugin } from '@fdpass/backend-runtime';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** What the metrics can be told. @default interfaces as in the environment variable FDPASS_INTERFACES */
export type MetricsOptions = StatsPluginOptions;

/** `eth0=uplink,gre-mg1`: the devices and their source tags; a device without one is its own. */
function interfacesIn(text: string): { device: string; tag?: string }[] {
  return text
    .split(',')
    .filter((rule) => rule !== '')
    .map((rule) => {
      const [device = '', ...tag] = rule.split('=');
      return tag.length === 0 ? { device } : { device, tag: tag.join('=') };
    });
}

export const metrics = fp<MetricsOptions>(async (app: FastifyInstance, options) => {
  // handoverServer() makes a server that takes middleware; Node.js's own has none.
  if (!('use' in app.server)) return;
  const interfaces = interfacesIn(process.env.FDPASS_INTERFACES ?? '');
  await app.register(statsPlugin, { interfaces, ...options });
});
