// The suites that need a kernel with TLS. They share its counters and its one processor: one test at a time.
export default {
  files: ['build/test/ktls/**/*.guest.js'],
  workerThreads: false,
  concurrency: 1,
  serial: true,
  timeout: '120s',
  failWithoutAssertions: true,
};
