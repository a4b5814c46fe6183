// What a build of the addon takes: its sources, the headers of Node.js, node-gyp. Starts no build.
const fs = require('node:fs');
const path = require('node:path');

/** Ends a build with one sentence about what the machine lacks. Thrown, so that what was begun is cleaned up. */
class Refusal extends Error {}

const isFile = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;

const sources = () => [
  ...fs
    .readdirSync(path.join(__dirname, 'src'))
    .sort()
    .map((name) => path.join('src', name)),
  'binding.gyp',
];

/** Copies what node-gyp needs, so that a build never happens beside a binary that is in use. */
function copySources(folder) {
  fs.mkdirSync(path.join(folder, 'src'));
  for (const name of [...sources(), 'package.json']) {
    fs.copyFileSync(path.join(__dirname, name), path.join(folder, name));
  }
}

/** The headers of the running Node.js, else the system's: the N-API and the libuv 1.x they describe are the same. */
function headersPrefix() {
  const own = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  const prefixes = [process.env.npm_config_nodedir, own, '/usr'].filter(Boolean);
  const found = prefixes.find((prefix) => isFile(path.join(prefix, 'include', 'node', 'node.h')));
  if (found !== undefined) return found;
  throw new Refusal(
    `needs the Node.js headers to be built, and there is no include/node/node.h in ${prefixes.join(' or ')}: install the ` +
      'package libnode-dev, or Node.js from its official tarball, which has them.',
  );
}

function onPath(program) {
  if (program.includes('/')) return isFile(program) ? program : undefined;
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean);
  return folders.map((folder) => path.join(folder, program)).find(isFile);
}

function ancestors(folder) {
  const parent = path.dirname(folder);
  return parent === folder ? [folder] : [folder, ...ancestors(parent)];
}

/** The command line of node-gyp: npm and pnpm put theirs on the PATH of an install script; else the nearest one is taken. */
function nodeGyp() {
  const bins = ancestors(__dirname).map((folder) => path.join(folder, 'node_modules', '.bin', 'node-gyp'));
  const found = onPath('node-gyp') ?? bins.find(isFile);
  if (found !== undefined) return [found];
  const npm = path.join(
    path.dirname(path.dirname(fs.realpathSync(process.execPath))),
    'lib/node_modules/npm',
  );
  try {
    return [process.execPath, require.resolve('node-gyp/bin/node-gyp.js', { paths: [__dirname, npm] })];
  } catch {
    throw new Refusal(
      'needs node-gyp to be built: install with npm or pnpm, which bring it, or run "npm install --global node-gyp".',
    );
  }
}

module.exports = { Refusal, copySources, headersPrefix, isFile, nodeGyp, onPath, sources };
