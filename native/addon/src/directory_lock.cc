// See directory_lock.h.
#include "directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <uv.h>

#include "unique_fd.h"

namespace fdpass {

SysResult LockDirectory(const std::string& directory, int timeout_ms) {
  if (directory.find('\0') != std::string::npos) return SysResult::Error(EINVAL, "open");
  UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.Valid()) return SysResult::Errno("open");
  const uint64_t end = uv_hrtime() + static_cast<uint64_t>(timeout_ms) * 1000000;
  for (;;) {
    if (flock(fd.Get(), LOCK_EX | LOCK_NB) == 0) return SysResult::Ok(fd.Release());
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK || uv_hrtime() >= end) return SysResult::Errno("flock");
    const timespec step = {0, 2 * 1000 * 1000};
    nanosleep(&step, nullptr);
  }
}

}  // namespace fdpass
