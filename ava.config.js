// Tests are compiled by `tsc -b` into build/test. Each test file runs in its own process: descriptor counts are per process.
export default {
  files: ['build/test/**/*.test.js'],
  workerThreads: false,
  timeout: '60s',
  failWithoutAssertions: true,
};
