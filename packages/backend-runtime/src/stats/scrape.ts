// Answers a scrape: Prometheus text, OpenMetrics or JSON, of all pairs or of some. Never counted itself.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Registry } from 'prom-client';
import { contentType, prometheusText } from './prometheus.js';
import { nextTurn, PAIRS_A_TURN, type PairFilter, type StatsSnapshot } from './snapshot.js';
import { leaveUncounted } from './uncounted.js';

/** Where a scrape's numbers come from: one process, or several. */
export interface SnapshotSource {
  snapshot(filter?: PairFilter): Promise<StatsSnapshot>;
}

export interface ScrapeOptions {
  /** Metrics of prom-client's that are told as well, such as its default process metrics; not in JSON. */
  registry?: Registry;
}

type Format = 'prometheus' | 'openmetrics' | 'json';

const FORMATS: readonly Format[] = ['prometheus', 'openmetrics', 'json'];
const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * A request listener for a route such as `/metrics`. `?source_tag=` and `?vip=`, each as often as wanted, choose pairs; the format is
 * that of `?format=` (`prometheus`, `openmetrics`, `json`), or the one `Accept` asks for. 405 for anything but GET and HEAD, 400 for a format
 * there is not.
 */
export function scrapeListener(source: SnapshotSource, { registry }: ScrapeOptions = {}) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    leaveUncounted(response);
    const query = new URLSearchParams(request.url?.split('?')[1] ?? '');
    const format = chosenFormat(query.get('format'), request.headers.accept ?? '');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { Allow: 'GET, HEAD' }).end();
    } else if (format === undefined) {
      response
        .writeHead(400, { 'Content-Type': 'text/plain' })
        .end(`format is one of ${FORMATS.join(', ')}\n`);
    } else if (request.method === 'HEAD') {
      response.writeHead(200, { 'Content-Type': typeOf(format) }).end();
    } else {
      const snapshot = await source.snapshot(filterOf(query)).catch((error: Error) => error);
      if (snapshot instanceof Error) {
        response.writeHead(503, { 'Content-Type': 'text/plain' }).end(`${snapshot.message}\n`);
        return;
      }
      response.writeHead(200, { 'Content-Type': typeOf(format), 'Cache-Control': 'no-store' });
      const pieces = format === 'json' ? jsonText(snapshot) : prometheusText(snapshot, format, registry);
      // A scraper that goes away has no more interest.
      await pipeline(Readable.from(pieces), response).catch(() => {});
    }
  };
}

const typeOf = (format: Format): string => (format === 'json' ? JSON_TYPE : contentType(format));

function chosenFormat(asked: string | null, accept: string): Format | undefined {
  if (asked !== null) return FORMATS.find((format) => format === asked);
  // In the order of the header; quality values are the same for all that scrapers send.
  for (const type of accept.split(',')) {
    if (type.includes('application/openmetrics-text')) return 'openmetrics';
    if (type.includes('application/json')) return 'json';
    if (type.includes('text/plain')) return 'prometheus';
  }
  return 'prometheus';
}

function filterOf(query: URLSearchParams): PairFilter {
  const sourceTags = query.getAll('source_tag');
  const vips = query.getAll('vip');
  return { ...(sourceTags.length > 0 && { sourceTags }), ...(vips.length > 0 && { vips }) };
}

async function* jsonText({ pairs, ...rest }: StatsSnapshot): AsyncGenerator<string> {
  // The pairs are last, and so can be written when the rest is.
  yield JSON.stringify({ ...rest, pairs: [] }).slice(0, -']}'.length);
  for (let at = 0; at < pairs.length; at += PAIRS_A_TURN) {
    if (at > 0) await nextTurn();
    const piece = JSON.stringify(pairs.slice(at, at + PAIRS_A_TURN));
    yield (at > 0 ? ',' : '') + piece.slice(1, -1);
  }
  yield ']}\n';
}
