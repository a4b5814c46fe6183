// `npm run bench`: builds what is not built, then compares handover with a plain http server in one interleaved run.
require('./preflight.cjs').checkMachine();
const path = require('node:path');
const { build } = require('./build.cjs');
const { run } = require('./child.cjs');
const { runCommand } = require('./command.cjs');
const { root } = require('./workspace.cjs');

runCommand(async () => {
  build();
  const { code } = await run(
    process.execPath,
    [path.join(root, 'build/bench/main.js'), ...process.argv.slice(2)],
    {},
  );
  process.exitCode = code;
});
