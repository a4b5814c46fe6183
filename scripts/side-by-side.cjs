// Stages of `npm test` that run beside each other and are told one after the other, as if they had not.

/** Begins each stage when those it needs have passed; what it prints waits until all that were added before it are done. */
class SideBySide {
  constructor() {
    this.stages = [];
  }

  /**
   * Adds a stage; it begins as soon as all of `needed` have passed, and without that is neither run nor told. `body(write)` prints by
   * `write` and resolves to a result of scripts/tally.cjs. Returns what other stages can need.
   */
  add(title, needed, body) {
    const held = [];
    const stage = { title, print: (text) => held.push(text) };
    stage.begun = Promise.all(needed.map((other) => other.result)).then((results) =>
      results.every(hasPassed),
    );
    stage.result = stage.begun.then((begun) => begun && body((text) => stage.print(text)));
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

/** False for a stage that was not run. */
const hasPassed = (result) => result && result.failures.length + result.missing.length === 0;

module.exports = { SideBySide };
