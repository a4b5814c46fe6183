// What the addon is built from: its sources and the headers of Node.js, for a build in a copy. Starts no build.
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

module.exports = { Refusal, copySources, headersPrefix, isFile, sources };
