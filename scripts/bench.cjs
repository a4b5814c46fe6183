// `npm run bench` compares handover with a plain http server, `npm run bench:nginx` (`bench.cjs nginx`) fd_pass with nginx's other ways
// to Node.js, `bench:scaling` plots the cost of a handover, `bench:guard` counts what needs no clock, `bench:routing` looks prefixes up; each
// after building what is not built. Further arguments are the benchmark's own.
require('./preflight.cjs').checkMachine();
const path = require('node:path');
const { build } = require('./build.cjs');
const { run } = require('./child.cjs');
const { runCommand } = require('./command.cjs');
const { buildNginxModule } = require('./nginx-module.cjs');
const { root } = require('./workspace.cjs');

const KINDS = ['nginx', 'scaling', 'guard', 'routing'];
const BEHIND_NGINX = ['nginx', 'scaling'];

runCommand(async () => {
  const args = process.argv.slice(2);
  const kind = KINDS.includes(args[0]) ? args.shift() : '.';
  const main = path.join(kind, 'main.js');
  build(['bench']);
  if (BEHIND_NGINX.includes(kind)) buildNginxModule();
  const { code } = await run(process.execPath, [path.join(root, 'build', 'bench', main)].concat(args), {});
  process.exitCode = code;
});
