// What `nginx -t` says of a configuration with our module: whether it is valid, and if not, why and where.
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { LOAD_MODULE, nginxFolder, writeNginxConfig } from './nginx.js';

export interface Verdict {
  readonly isValid: boolean;
  /** Lines of the levels `warn` and above, without the level; the folder's name is left out of them. */
  readonly complaints: readonly string[];
}

/**
 * Tests a configuration.
 * @param http what goes into the http block, from its second line on: its own line n is line n + 4 of nginx.conf
 */
export async function nginxVerdict(http: string): Promise<Verdict> {
  const folder = nginxFolder();
  try {
    const file = writeNginxConfig(folder, `\n${http}\n`, { main: LOAD_MODULE });
    const args = ['-t', '-e', join(folder, 'error.log'), '-c', file];
    return await new Promise((resolve, reject) => {
      execFile('nginx', args, { encoding: 'latin1' }, (error, _stdout, stderr) => {
        if (error !== null && error.code !== 1) reject(error);
        const complaints = [...stderr.matchAll(/^nginx: \[(?:warn|error|crit|alert|emerg)\] (.*)$/gm)];
        resolve({
          isValid: error === null,
          complaints: complaints.map(([, text = '']) => text.replaceAll(`${folder}/`, '')),
        });
      });
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
