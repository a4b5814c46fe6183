// See fd_registry.h.
#include "fd_registry.h"

#include <fcntl.h>
#include <unistd.h>

namespace fdpass {

int FdRegistry::Add(UniqueFd fd) {
  if (!fd.Valid()) return -1;
  const int number = fd.Release();
  Insert(number);
  return number;
}

SysResult FdRegistry::Register(int fd) {
  if (fcntl(fd, F_GETFD) < 0) return SysResult::Errno("fcntl");
  Insert(fd);
  return SysResult::Ok(fd);
}

void FdRegistry::Take(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (fd < 0 || index >= is_ours_.size() || !is_ours_[index]) return;
  is_ours_[index] = false;
  size_--;
}

SysResult FdRegistry::Close(int fd) {
  Take(fd);
  // After EINTR the number is free already (close(2)): a second try could close what another thread just opened.
  if (::close(fd) != 0 && errno != EINTR) return SysResult::Errno("close");
  return SysResult::Ok();
}

void FdRegistry::CloseAll() {
  for (size_t index = 0; index < is_ours_.size(); index++) {
    if (is_ours_[index]) ::close(static_cast<int>(index));
  }
  is_ours_.clear();
  size_ = 0;
}

void FdRegistry::Insert(int fd) {
  const auto index = static_cast<size_t>(fd);
  if (index >= is_ours_.size()) is_ours_.resize(index + 1);
  if (is_ours_[index]) return;
  is_ours_[index] = true;
  size_++;
}

SysResult Duplicate(int fd) {
  const int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return duplicate < 0 ? SysResult::Errno("fcntl") : SysResult::Ok(duplicate);
}

}  // namespace fdpass
