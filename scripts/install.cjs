// Installs the dependencies with the pnpm that package.json names, and only when something that decides them has changed:
// with an unchanged workspace no network and no other process is needed.
require('./preflight.cjs').checkMachine();
const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { Failure, runCommand } = require('./command.cjs');
const { packageFolders, readManifest, root, toolEnvironment } = require('./workspace.cjs');

const STAMP = path.join(root, 'node_modules', '.fdpass-install');

function fingerprint() {
  const hash = createHash('sha256').update(`${process.versions.modules} ${process.arch}\n`);
  const files = ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc'].concat(
    packageFolders().map((folder) => path.join(folder, 'package.json')),
  );
  for (const file of files) {
    const content = fs.existsSync(path.join(root, file)) ? fs.readFileSync(path.join(root, file)) : '';
    hash.update(`${file} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

/** Whether every direct dependency is in its place: the stamp alone would not notice a deleted folder. */
function dependenciesArePresent() {
  return packageFolders().every((folder) => {
    const manifest = readManifest(folder);
    const names = Object.keys(Object.assign({}, manifest.dependencies, manifest.devDependencies));
    return names.every((name) =>
      fs.existsSync(path.join(root, folder, 'node_modules', name, 'package.json')),
    );
  });
}

const isCurrent = (stamp) =>
  fs.existsSync(STAMP) && fs.readFileSync(STAMP, 'utf8') === stamp && dependenciesArePresent();

/** Brings node_modules in step with the lockfile. Throws a Failure when pnpm does, after showing its output. */
function install() {
  const stamp = fingerprint();
  if (isCurrent(stamp)) return;
  const pnpm = readManifest('.').packageManager;
  process.stdout.write(
    `Installing the dependencies with ${pnpm}; the native addon is compiled on the way.\n`,
  );
  const result = spawnSync('npx', ['--yes', pnpm, 'install', '--frozen-lockfile'], {
    cwd: root,
    // CI=true: pnpm must not wait for an answer when it finds a node_modules of another kind.
    env: toolEnvironment({ CI: 'true' }),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  if (result.error && result.error.code === 'ENOENT') {
    throw new Failure('npx is missing, it comes with npm: apt-get install npm');
  }
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout || ''}${result.stderr || ''}`);
    throw new Failure(`The dependencies could not be installed: ${pnpm} says why above.`);
  }
  fs.writeFileSync(STAMP, stamp);
}

module.exports = { install };
if (require.main === module) runCommand(install);
