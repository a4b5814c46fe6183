// What the machine must have before anything else runs: Linux, a current Node.js and, while the addon has no build, a compiler.
// Each lack is one sentence. Built-in modules are loaded only once Node.js is known to be new enough to have them.
const { giveUp } = require('./command.cjs');

const LEAST_NODE = [20, 19];

function checkPlatform() {
  if (process.platform !== 'linux') {
    giveUp(`@fdpass runs on Linux only and this is ${process.platform}: use a Linux machine or container.`);
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < LEAST_NODE[0] || (major === LEAST_NODE[0] && minor < LEAST_NODE[1])) {
    giveUp(
      `@fdpass needs Node.js ${LEAST_NODE.join('.')} or newer and this is ${process.versions.node}: ` +
        'install a newer one (the package nodejs of Debian 13 will do).',
    );
  }
}

/** Whether a compiled addon is there: our own build, or a prebuild for this architecture. */
function addonIsBuilt(root) {
  const fs = require('node:fs');
  const path = require('node:path');
  const addon = path.join(root, 'native', 'addon');
  const places = [
    path.join(addon, 'build', 'Release'),
    path.join(addon, 'prebuilds', `linux-${process.arch}`),
  ];
  return places.some(
    (place) => fs.existsSync(place) && fs.readdirSync(place).some((f) => f.endsWith('.node')),
  );
}

function isOnPath(program) {
  const fs = require('node:fs');
  const path = require('node:path');
  const folders = program.includes('/') ? [''] : (process.env.PATH || '').split(path.delimiter);
  return folders.some((folder) => {
    try {
      fs.accessSync(path.join(folder, program), fs.constants.X_OK);
      return true;
    } catch (_absent) {
      return false;
    }
  });
}

/** The headers of the running Node.js or of the system, or those the user points node-gyp at. */
function headersArePresent() {
  const fs = require('node:fs');
  const path = require('node:path');
  const own = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  return [process.env.npm_config_nodedir || own, own, '/usr'].some((prefix) =>
    fs.existsSync(path.join(prefix, 'include', 'node', 'node.h')),
  );
}

function checkCompiler() {
  // What node-gyp and make read, and else run. CXX may be more than a program ("ccache g++").
  const { CXX, MAKE, PYTHON } = process.env;
  const tools = [
    { what: PYTHON || 'python3', debianPackage: 'python3' },
    { what: MAKE || 'make', debianPackage: 'make' },
    { what: (CXX || 'g++').split(' ')[0], debianPackage: 'g++' },
  ];
  const missing = tools.filter((tool) => !isOnPath(tool.what));
  if (!headersArePresent()) {
    missing.push({ what: 'the headers of Node.js (include/node/node.h)', debianPackage: 'libnode-dev' });
  }
  if (missing.length === 0) return;
  const what = missing.map((lack) => lack.what).join(', ');
  const packages = missing.map((lack) => lack.debianPackage).join(' ');
  giveUp(`The native addon has to be compiled and this is missing: ${what}. Do: apt-get install ${packages}`);
}

/** Returns if the machine has what it takes, otherwise says what to do and ends the process. */
function checkMachine() {
  checkPlatform();
  if (!addonIsBuilt(require('node:path').resolve(__dirname, '..'))) checkCompiler();
}

module.exports = { checkMachine };
if (require.main === module) checkMachine();
