// nginx with a second for everything it waits for, in front of a handover server: what lasts longer than that is out of its hands.
import type { ExecutionContext } from 'ava';
import { type BehindNginx, type BehindNginxOptions, behindNginx } from './behind-nginx.js';
import { descriptorChanges, openDescriptors } from './descriptors.js';
import { until } from './until.js';

/** Of each of nginx's timers. */
export const NGINX_TIMEOUT_MS = 1000;

export interface ImpatientNginx extends BehindNginx {
  /** Resolves when nginx has let go of every client that it had. */
  letGo(): Promise<void>;
}

/** @param seconds of each timer that begins before the handover: more for a test that is not about them */
export async function impatientNginx(
  t: ExecutionContext,
  options: BehindNginxOptions = {},
  seconds = NGINX_TIMEOUT_MS / 1000,
): Promise<ImpatientNginx> {
  const front = await behindNginx(t, {
    locations: (socket) => `
      client_header_timeout ${seconds}s; client_body_timeout ${seconds}s; send_timeout ${seconds}s;
      keepalive_timeout ${seconds}s; fd_pass_send_timeout ${seconds}s; fd_pass_idle_timeout ${seconds}s;
      lingering_close always; lingering_timeout 1s; lingering_time 1s; reset_timedout_connection on;
      location / { fd_pass unix:${socket}; fd_pass_fallback @relay; }
      location @relay { include /etc/nginx/scgi_params; scgi_pass unix:${socket}; }`,
    ...options,
  });
  const [worker] = front.nginx.workers() as [number];
  const before = openDescriptors(worker);
  return {
    ...front,
    letGo: () =>
      until(
        'nginx has let go of its clients',
        () => descriptorChanges(before, openDescriptors(worker)).length === 0,
      ),
  };
}
