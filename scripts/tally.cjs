// What `npm test` prints around its stages, and the sums: heading and time of each, every skip and failure again at the end,
// then the one line of totals.

/** Adds up what the stages report and prints it. */
class Tally {
  /** With `ci`, a stage that cannot run here counts as failed: nothing may be missing there. */
  constructor({ ci, write }) {
    this.ci = ci;
    this.write = write;
    this.passed = 0;
    this.failures = [];
    this.skips = [];
  }

  /** Runs one stage. `body` resolves to one of the results below. Resolves to whether nothing failed. */
  async stage(title, body) {
    const start = Date.now();
    this.write(`\n== ${title}\n`);
    const result = await body();
    const { milliseconds = Date.now() - start } = result;
    const seconds = (milliseconds / 1000).toFixed(1);
    const skips = this.ci ? [] : result.missing;
    const failures = result.failures.concat(
      this.ci ? result.missing.map((reason) => ({ title: reason, details: [] })) : [],
    );
    this.passed += result.passed;
    this.skips.push(...result.skips.concat(skips).map((skip) => `${title}: ${skip}`));
    this.failures.push(
      ...failures.map((failure) => Object.assign({}, failure, { title: `${title}: ${failure.title}` })),
    );
    const counts = [
      `${result.passed} passed`,
      `${failures.length} failed`,
      `${result.skips.length + skips.length} skipped`,
    ];
    this.write(`-- ${title}: ${counts.join(', ')} (${seconds} s)\n`);
    return failures.length === 0;
  }

  /** Prints the lists and the line of totals. Returns the exit code. */
  finish() {
    if (this.skips.length > 0) this.write(`\nSkipped:\n${this.skips.map((skip) => `  ${skip}\n`).join('')}`);
    if (this.failures.length > 0) {
      this.write('\nFailed:\n');
      for (const { title, details } of this.failures) {
        this.write(
          [`  ${title}`]
            .concat(details)
            .map((line) => `${line}\n`)
            .join(''),
        );
      }
    }
    this.write(`\n${this.passed} passed, ${this.failures.length} failed, ${this.skips.length} skipped\n`);
    return this.failures.length > 0 ? 1 : 0;
  }
}

const result = (fields) => Object.assign({ passed: 0, failures: [], skips: [], missing: [] }, fields);

/** A stage that is one check, and holds. */
const stagePassed = () => result({ passed: 1 });
/** A stage that is one check, and does not hold. */
const stageFailed = (reason) => result({ failures: [{ title: reason, details: [] }] });
/** A stage that lacks a program, a privilege or the network: skipped on a laptop, failed in CI. */
const stageMissing = (reason) => result({ missing: [reason] });
/** A stage that is a suite. */
const stageReport = (report) =>
  result({ passed: report.passed, failures: report.failures, skips: report.skips });

module.exports = { Tally, stageFailed, stageMissing, stagePassed, stageReport };
