// `npm run test:ktls`: only the suites of test/ktls, which `npm test` ends with.
// `npm run test:ktls -- nginx` runs only files with that in their path; `npm run test:ktls -- run <command>` any command in a guest.
require('./preflight.cjs').checkMachine();
const { build } = require('./build.cjs');
const { giveUp, runCommand } = require('./command.cjs');
const { allSuites, runGuest, runKernelTls, suitesMatching } = require('./kernel-tls.cjs');
const { Tally } = require('./tally.cjs');

async function main(args) {
  build();
  if (args[0] === 'run') {
    const { code } = await runGuest(args.slice(1), {});
    process.exitCode = code;
    return;
  }
  const files = args.length === 0 ? allSuites() : suitesMatching(args);
  if (files.length === 0)
    giveUp(`No suite matches "${args.join('" or "')}": name a part of a path in test/ktls.`);
  const tally = new Tally({ ci: process.env.CI === 'true', write: (text) => process.stdout.write(text) });
  await runKernelTls(files, tally);
  process.exitCode = tally.finish();
}

runCommand(() => main(process.argv.slice(2)));
