// See fd_registry.h.
#include "fd_registry.h"

#include <fcntl.h>
#include <unistd.h>

namespace fdpass {

int FdRegistry::Add(UniqueFd fd) {
  if (!fd.Valid()) return -1;
  const int number = fd.Release();
  fds_.insert(number);
  return number;
}

SysResult FdRegistry::Register(int fd) {
  if (fds_.count(fd) == 0 && fcntl(fd, F_GETFD) < 0) return SysResult::Errno("fcntl");
  fds_.insert(fd);
  return SysResult::Ok(fd);
}

SysResult FdRegistry::Close(int fd) {
  fds_.erase(fd);
  // After EINTR the number is free already (close(2)): a second try could close what another thread just opened.
  if (::close(fd) != 0 && errno != EINTR) return SysResult::Errno("close");
  return SysResult::Ok();
}

void FdRegistry::CloseAll() {
  for (const int fd : fds_) ::close(fd);
  fds_.clear();
}

SysResult Duplicate(int fd) {
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return duplicate < 0 ? SysResult::Errno("fcntl") : SysResult::Ok(duplicate);
}

}  // namespace fdpass
