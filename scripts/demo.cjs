// `npm run demo`: builds what is not built, then runs the demo application behind our front door until Ctrl-C.
require('./preflight.cjs').checkMachine();
const { spawn } = require('node:child_process');
const path = require('node:path');
const { build } = require('./build.cjs');
const { giveUp, runCommand } = require('./command.cjs');
const { root, toolEnvironment } = require('./workspace.cjs');

const FDPASS = path.join('packages', 'backend-runtime', 'bin', 'fdpass.js');
const APPLICATION = path.join('packages', 'demo-app');
const DEFAULT_PORT = '8080';
// One Ctrl-C reaches us twice, from the terminal and from npm; later than this it is a second Ctrl-C.
const SAME_KEYPRESS_MS = 1000;

function port() {
  const value = process.env.PORT || DEFAULT_PORT;
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65535) {
    giveUp(`PORT is "${value}": it must be a number from 0 to 65535 (0 lets the kernel choose).`);
  }
  return value;
}

function runDemo(chosenPort) {
  // In a process group of its own the child does not hear the terminal: it gets each signal once, from us.
  // Descriptor 3 ends when we do, however that happens: the child ends then as well.
  const child = spawn(
    process.execPath,
    [
      '-r',
      path.join(__dirname, 'end-with-parent.cjs'),
      FDPASS,
      'dev',
      APPLICATION,
      '--port',
      chosenPort,
      '--log-level',
      'warn',
    ],
    {
      cwd: root,
      env: toolEnvironment({ FDPASS_PARENT_FD: '3' }),
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      detached: true,
    },
  );
  let stoppedAt;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      const now = Date.now();
      if (stoppedAt === undefined) {
        stoppedAt = now;
        child.kill(signal);
      } else if (now - stoppedAt > SAME_KEYPRESS_MS) {
        process.kill(-child.pid, 'SIGKILL');
      }
    });
  }
  child.on('error', (error) => giveUp(`The demo could not be started: ${error.message}.`));
  child.on('exit', (code, signal) => {
    const stoppedAsAsked = stoppedAt !== undefined && signal !== 'SIGKILL';
    process.exit(stoppedAsAsked && code === null ? 0 : code === null ? 1 : code);
  });
}

/** Ends the demo that npm started when npm is gone without a signal to us, as after `kill -9`: Ctrl-C would not reach it. */
function endWithNpm() {
  if (process.env.npm_lifecycle_event === undefined) return;
  const npm = process.ppid;
  const watch = setInterval(() => process.ppid !== npm && process.kill(process.pid, 'SIGTERM'), 500);
  watch.unref();
}

runCommand(() => {
  endWithNpm();
  const chosenPort = port();
  // Not the tests: half-written ones must not keep the demo from running.
  build([APPLICATION]);
  runDemo(chosenPort);
});
