// Reads the TAP that AVA writes (version 13) and counts. It knows no process and prints nothing.

/**
 * Reads one run's report; `onTest({ outcome, title })` is called as each test becomes known, `onLog(line)` for what a test that passed
 * has logged.
 */
class TapReport {
  constructor(onTest, onLog) {
    this.passed = 0;
    this.failures = [];
    this.skips = [];
    this.onTest = onTest || (() => {});
    this.onLog = onLog || (() => {});
    this.remainder = '';
    this.planned = false;
    this.reportedFailures = 0;
    this.todos = 0;
    this.openFailure = undefined;
  }

  /** Takes the next piece of output; it may end in the middle of a line. */
  push(text) {
    const lines = (this.remainder + text).split('\n');
    this.remainder = lines.pop();
    for (const line of lines) this.readLine(line);
  }

  readLine(line) {
    const test = /^(not )?ok \d+(?: - (.*?))?(?: # (SKIP|TODO)\b.*)?$/.exec(line);
    if (test) {
      this.readTest({ failed: test[1] !== undefined, title: test[2] || '', directive: test[3] });
    } else if (this.openFailure && /^( {4}|# {3}|$)/.test(line)) {
      this.openFailure.details.push(line);
    } else if (/^# {3}/.test(line)) {
      this.onLog(line.slice(4));
    } else if (line === '  ...') {
      this.openFailure = undefined;
    } else if (/^1\.\.\d+$/.test(line)) {
      this.planned = true;
    } else if (this.planned && /^# fail \d+$/.test(line)) {
      this.reportedFailures = Number(line.slice('# fail '.length));
    }
  }

  readTest({ failed, title, directive }) {
    this.openFailure = undefined;
    let outcome = failed ? 'failed' : 'passed';
    if (directive) outcome = 'skipped';
    if (directive === 'TODO') this.todos += 1;
    if (outcome === 'passed') this.passed += 1;
    if (outcome === 'skipped') this.skips.push(directive === 'TODO' ? `${title} (to be written)` : title);
    if (outcome === 'failed') {
      this.openFailure = { title, details: [] };
      this.failures.push(this.openFailure);
    }
    this.onTest({ outcome, title });
  }

  /** Ends the report. What AVA counted or its exit code says, and no test accounts for, becomes a failure of its own. */
  finish(exitCode) {
    if (this.remainder !== '') this.push('\n');
    const unseen = this.reportedFailures - this.todos - this.failures.length;
    if (unseen > 0) {
      this.failures.push({ title: `tests that never ran to their end: ${unseen}`, details: [] });
    } else if (!this.planned) {
      this.failures.push({ title: 'the test runner ended before its report was complete', details: [] });
    } else if (exitCode !== 0 && this.failures.length === 0) {
      this.failures.push({ title: `the test runner ended with exit code ${exitCode}`, details: [] });
    }
    return this;
  }
}

module.exports = { TapReport };
