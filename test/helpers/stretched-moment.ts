// Makes the microseconds in which nginx gives a backend up last milliseconds, so that an acknowledgement can come in each of them:
// a library between nginx and the C library, which waits before SHUT_RD and after the last look for a byte.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const SOURCE = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOMENT_US 4000

int shutdown(int fd, int how) {
  int (*real)(int, int) = dlsym(RTLD_NEXT, "shutdown");
  if (how != SHUT_RD) return real(fd, how);
  usleep(MOMENT_US);
  int result = real(fd, how);
  usleep(MOMENT_US);
  return result;
}

ssize_t recv(int fd, void *bytes, size_t length, int flags) {
  ssize_t (*real)(int, void *, size_t, int) = dlsym(RTLD_NEXT, "recv");
  ssize_t result = real(fd, bytes, length, flags);
  if (length == 1 && flags == MSG_DONTWAIT) usleep(MOMENT_US);
  return result;
}
`;

/** Builds the library. @returns what nginx has to run under */
export function stretchedMoment(folder: string): string[] {
  const library = join(folder, 'stretched-moment.so');
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, '-x', 'c', '-', '-ldl'], { input: SOURCE });
  return ['env', `LD_PRELOAD=${library}`];
}
