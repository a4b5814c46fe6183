// `fdpass dev` with an application in a folder of its own: asking it, and editing it as editors do.
import { renameSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { FdpassCommand, temporaryFolder } from './fdpass-command.js';

export interface Dev {
  command: FdpassCommand;
  port: number;
  /** Where the application is. */
  cwd: string;
}

/** Starts it and waits until it serves. */
export async function dev(
  t: ExecutionContext,
  files: Record<string, string>,
  app = 'app.mjs',
  more: string[] = [],
): Promise<Dev> {
  const cwd = temporaryFolder(t, files);
  // What is left there is its doing.
  const env = { TMPDIR: temporaryFolder(t) };
  const command = FdpassCommand.start(t, ['dev', app, '--port', '0', ...more], { cwd, env });
  const url = /http:\/\/127\.0\.0\.1:(\d+)\//;
  await command.printed(url);
  return { command, port: Number(url.exec(command.stdout)?.[1]), cwd };
}

/** One request on a connection of its own; rejects unless it is answered whole, with 200. */
export function get(port: number, path = '/'): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ port, path, host: '127.0.0.1', agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200 && response.complete) resolve(body);
        else reject(new Error(`status ${response.statusCode}: ${body}`));
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

/** A module that answers `text` at `/` and its process at `/pid`. */
export const answering = (text: string): string =>
  `export default async (app) => { app.get('/', () => '${text}'); app.get('/pid', () => String(process.pid)); };\n`;

/** As editors do: a new file in the place of the old one. */
export function save(cwd: string, name: string, text: string): void {
  writeFileSync(join(cwd, `${name}.new`), text);
  renameSync(join(cwd, `${name}.new`), join(cwd, name));
}

/** Resolves when `/` is answered with `text`. @throws if an answer fails */
export async function answers(port: number, text: string): Promise<void> {
  let last = '';
  while (last !== text) {
    last = await get(port);
    await delay(5);
  }
}
