// Reads a socket as records of kernel TLS, writes what came of it as JSON, and how many sockets it left open.
import { PassedFd } from '@fdpass/scgi-fdpass';
import { loadNative } from '#native/index.js';
import { TlsSource } from '#runtime/tls-source.js';
import { openDescriptors } from '../../helpers/descriptors.js';

const native = loadNative();
const sockets = (): number =>
  [...openDescriptors().values()].filter((target) => target.startsWith('socket:')).length;
const before = sockets();
const [fd, peer] = native.socketpair();
const happened: string[] = [];
const source = new TlsSource(
  new PassedFd(fd),
  {
    onTruncated: () => happened.push('truncated'),
    onError: ({ code, cause }) => happened.push(`${code} ${(cause as NodeJS.ErrnoException).code}`),
  },
  undefined,
);
source.on('end', () => happened.push('end'));
source.on('error', ({ code }: NodeJS.ErrnoException) => happened.push(`error ${code}`));
source.on('close', () => {
  native.closeFd(peer);
  process.stdout.write(JSON.stringify({ happened, left: sockets() - before }));
});
source.resume();
native.write(peer, Buffer.from('a record'));
