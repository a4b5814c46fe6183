// Preloaded (`node -r`) into a child that must not outlive its parent: descriptor FDPASS_PARENT_FD is a pipe from the parent,
// and its end, by whatever death, is taken for SIGTERM. Processes that the child starts are not concerned.
const { Socket } = require('node:net');
const { isMainThread } = require('node:worker_threads');

const fd = process.env.FDPASS_PARENT_FD;
if (isMainThread && fd !== undefined) {
  delete process.env.FDPASS_PARENT_FD;
  const pipe = new Socket({ fd: Number(fd) });
  pipe.on('error', () => {});
  pipe.on('close', () => process.kill(process.pid, 'SIGTERM'));
  pipe.resume();
  pipe.unref();
}
