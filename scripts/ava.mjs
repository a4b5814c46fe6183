// AVA, with a TAP reporter that survives what it reports. That of AVA 7.0 fails, and the run with it, on a time-out and on an error
// without a stack, such as one of a system call: nobody would learn which test it was.
import TapReporter from '../node_modules/ava/lib/reporters/tap.js';

const FAILED = { passed: false, todo: false, skip: false };
const startRun = TapReporter.prototype.startRun;

TapReporter.prototype.startRun = function startRunWithStacks(plan) {
  const sanitize = this.sanitizeStackOutput ?? ((stack) => stack);
  this.sanitizeStackOutput = (stack) => {
    const sanitized = sanitize(stack ?? 'Error');
    return sanitized.includes('\n') ? sanitized : `${sanitized}\n    at (unknown)`;
  };
  startRun.call(this, plan);
};

TapReporter.prototype.writeTimeout = function writeTimeout({ pendingTests, period }) {
  const originalError = new Error(`no test has ended for ${period} ms`);
  const err = { type: 'native', name: 'Error', originalError };
  for (const [testFile, titles] of pendingTests) {
    for (const title of titles) this.writeTest({ testFile, title, err }, FAILED);
    if (titles.size === 0)
      this.writeCrash({ err }, `${this.relativeFile(testFile)}: its process has not ended, and runs no test`);
  }
};

await import('../node_modules/ava/entrypoints/cli.mjs');
