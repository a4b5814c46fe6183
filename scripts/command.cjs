// How a command of this folder gives up: one sentence that says what to do, on stderr, exit code 1, no stack.
// Every script here parses on Node.js 8, so that an old Node.js gets to that sentence.

/** Something the user can put right: its message is the whole answer. */
class Failure extends Error {}

function giveUp(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}

/** Runs `main` and turns a {@link Failure} into its sentence; anything else is a defect of ours and keeps its stack. */
async function runCommand(main) {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    giveUp(error.message);
  }
}

module.exports = { Failure, giveUp, runCommand };
