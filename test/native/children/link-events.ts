// Says on `drain` whether an interface has changed. `shrink`: from now on the socket holds next to nothing.
import { createInterface } from 'node:readline';
import { loadNative } from '#native/index.js';

const native = loadNative();
const { SOL_SOCKET, SO_RCVBUF } = native.constants;
const fd = native.openLinkEvents();
for await (const line of createInterface(process.stdin)) {
  if (line === 'end') break;
  if (line === 'shrink') native.setOption(fd, SOL_SOCKET, SO_RCVBUF, 1);
  else console.log(native.drainLinkEvents(fd));
}
native.closeFd(fd);
process.stdin.destroy();
