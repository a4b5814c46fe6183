// The page at `/` and its files: a fixed list made at start, so no path of a request ever becomes a path on disk.
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { sendFile } from '@fdpass/backend-runtime';
import type { FastifyInstance } from 'fastify';

const folder = fileURLToPath(new URL('../public/', import.meta.url));

const headers = {
  'cache-control': 'no-cache', // kept, but asked about: the ETag makes that a 304
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

export async function page(app: FastifyInstance): Promise<void> {
  for (const name of await readdir(folder)) {
    const url = name === 'index.html' ? '/' : `/${name}`;
    app.get(url, (_request, reply) => sendFile(reply.headers(headers), `${folder}${name}`));
  }
}
