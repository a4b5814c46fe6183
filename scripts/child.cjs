// Runs one child process for a stage of `npm test`. A signal that ends us ends it first, and all it has started.
const { spawn } = require('node:child_process');
const { root, toolEnvironment } = require('./workspace.cjs');

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
const running = new Set();

function endGroup(leader) {
  try {
    process.kill(-leader, 'SIGTERM');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

for (const signal of Object.keys(SIGNALS)) {
  process.once(signal, () => {
    // The whole group: AVA leaves its workers running when it is told to end.
    for (const child of running) endGroup(child.pid);
    process.exit(SIGNALS[signal]);
  });
}

/**
 * Resolves to `{ code, output, errors }`; `code` is 1 when a signal ended the child or it could not be started.
 * Output goes to `onOutput` piece by piece, else to our own stdout, else (with `quiet`) only into the result. Errors go to our own
 * stderr; with `quiet` only, with `keepErrors` also, into the result. After `silenceMs` without output the child is ended, with all it has
 * started.
 */
function run(command, args, { env, onOutput, quiet, keepErrors, silenceMs }) {
  return new Promise((resolve) => {
    const captured = Boolean(onOutput || quiet);
    const child = spawn(command, args, {
      cwd: root,
      detached: true,
      env: toolEnvironment(env),
      stdio: ['ignore', captured ? 'pipe' : 'inherit', quiet || keepErrors ? 'pipe' : 'inherit'],
    });
    running.add(child);
    const result = { code: 1, output: '', errors: '' };
    const silence = silenceMs && setTimeout(() => endGroup(child.pid), silenceMs);
    if (child.stdout) {
      child.stdout.setEncoding('utf8').on('data', (text) => {
        if (silence) silence.refresh();
        if (onOutput) onOutput(text);
        else result.output += text;
      });
    }
    if (child.stderr) {
      child.stderr.setEncoding('utf8').on('data', (text) => {
        result.errors += text;
        if (!quiet) process.stderr.write(text);
      });
    }
    child.on('error', (error) => {
      clearTimeout(silence);
      running.delete(child);
      resolve(Object.assign(result, { errors: error.message }));
    });
    child.on('close', (code) => {
      clearTimeout(silence);
      running.delete(child);
      resolve(Object.assign(result, { code: code === null ? 1 : code }));
    });
  });
}

module.exports = { run };
