// Stages of `npm test` that run beside each other and are told one after the other, as if they had not.
const { stageFailed } = require('./tally.cjs');

/** Begins each stage when it can; what it prints waits until all that were added before it are done. */
class SideBySide {
  constructor() {
    this.stages = [];
  }

  /**
   * Adds a stage; it begins as soon as all of `needed` have passed (without that it is neither run nor told) and all of `after` are
   * done. `body(write)` prints by `write` and resolves to a result of scripts/tally.cjs. Returns what other stages can name.
   */
  add(title, { needed = [], after = [] }, body) {
    const held = [];
    const stage = { title, print: (text) => held.push(text) };
    stage.begun = Promise.all(needed.map((other) => other.result)).then((results) =>
      results.every(hasPassed),
    );
    stage.result = Promise.all([stage.begun].concat(after.map((other) => other.result))).then(
      ([begun]) => begun && timed(() => body((text) => stage.print(text))),
    );
    stage.tell = (write) => {
      stage.print = write;
      for (const text of held) write(text);
      return stage.result;
    };
    this.stages.push(stage);
    return stage;
  }

  /** Tells `tally` of all of them, in the order they were added in. */
  async tell(tally) {
    for (const { title, begun, tell } of this.stages) {
      if (await begun) await tally.stage(title, () => tell(tally.write));
    }
  }
}

/** With the time that it took, wherever it was told; what is thrown is the failure of its stage only. */
async function timed(body) {
  const start = Date.now();
  const result = await body().catch((error) => stageFailed(error.stack));
  return Object.assign({ milliseconds: Date.now() - start }, result);
}

/** False for a stage that was not run. */
const hasPassed = (result) => result && result.failures.length + result.missing.length === 0;

module.exports = { SideBySide };
