// Makes the workspace runnable from whatever state it is in: machine, dependencies, native addon, TypeScript. Each step costs
// next to nothing when there is nothing to do.
require('./preflight.cjs').checkMachine();
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { Failure, runCommand } = require('./command.cjs');
const { install } = require('./install.cjs');
const { reconcileOutputs } = require('./outputs.cjs');
const { root, toolEnvironment } = require('./workspace.cjs');

function runNode(args, sentence) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit', env: toolEnvironment() });
  if (result.status !== 0) throw new Failure(sentence);
}

/** Compiles the TypeScript `projects` and what they refer to; by default all. Throws a Failure when a step fails, after it has said why. */
function build(projects = ['.']) {
  install();
  const addon = path.join(root, 'native', 'addon', 'install.cjs');
  runNode([addon], 'The native addon could not be built: the reason is above.');
  reconcileOutputs();
  const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  runNode([tsc, '-b'].concat(projects), 'The TypeScript build failed: its errors are above.');
}

module.exports = { build };
if (require.main === module) runCommand(build);
