import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from './stand-in-workspace.js';

/** Runs one suite, given as its source, in a folder of its own, as scripts/suites.cjs would. */
export function runAva(suite: string, args: string[], env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'fdpass-suite-'));
  try {
    symlinkSync(join(repositoryRoot, 'node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    writeFileSync(join(folder, 'suite.test.js'), suite);
    return spawnSync(process.execPath, [join(repositoryRoot, 'scripts', 'ava.mjs'), ...args], {
      cwd: folder,
      encoding: 'utf8',
      env: { PATH: process.env.PATH, ...env },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
