// `npm run bench` compares handover with a plain http server, `npm run bench:nginx` (`bench.cjs nginx`) fd_pass with nginx's other ways
// to Node.js; each in one interleaved run, after building what is not built. Further arguments are the benchmark's own.
require('./preflight.cjs').checkMachine();
const path = require('node:path');
const { build } = require('./build.cjs');
const { run } = require('./child.cjs');
const { runCommand } = require('./command.cjs');
const { root } = require('./workspace.cjs');

runCommand(async () => {
  const args = process.argv.slice(2);
  const main = args[0] === 'nginx' ? path.join(args.shift(), 'main.js') : 'main.js';
  build();
  const { code } = await run(process.execPath, [path.join(root, 'build', 'bench', main)].concat(args), {});
  process.exitCode = code;
});
