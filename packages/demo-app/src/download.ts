// GET /download: a file of any size, sent by sendFile, with the SHA-256 of the whole file in `x-sha256`.
import { sendFile } from '@fdpass/backend-runtime';
import type { FastifyInstance } from 'fastify';
import { GeneratedFiles, type GeneratedFilesOptions } from './generated-files.js';

/** 100 MB, in the decimal sense. */
const DEFAULT_BYTES = 100_000_000;
const MAX_BYTES = 10_000_000_000;

/** What the download can be told. */
export type DownloadOptions = GeneratedFilesOptions;

const querystring = {
  type: 'object',
  properties: { bytes: { type: 'integer', minimum: 0, maximum: MAX_BYTES, default: DEFAULT_BYTES } },
} as const;

export async function download(app: FastifyInstance, options: DownloadOptions): Promise<void> {
  const files = new GeneratedFiles(options);
  app.addHook('onClose', () => files.close());

  app.get<{ Querystring: { bytes: number } }>(
    '/download',
    { schema: { querystring } },
    async (request, reply) => {
      const { bytes } = request.query;
      try {
        await files.use(bytes, request.signal, ({ path, sha256 }) => {
          reply.headers({
            'content-type': 'application/octet-stream',
            'content-disposition': `attachment; filename="fdpass-${bytes}.bin"`,
            'cache-control': 'no-store',
            etag: `"${sha256}"`, // strong, and the same after a restart: a broken download can go on
            'x-sha256': sha256,
          });
          return sendFile(reply, path);
        });
      } catch (error) {
        // The client left while its file was being made: there is nobody to answer.
        if (request.signal.aborted) return reply.hijack();
        throw error;
      }
      return reply;
    },
  );
}
