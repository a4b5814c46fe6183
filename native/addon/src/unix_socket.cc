// See unix_socket.h.
#include "unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "unique_fd.h"

namespace fdpass {
namespace {

constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;

// Answers the address's length, or the errno.
SysResult ToAddress(const std::string& path, const char* call, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  // An empty path would make the kernel choose an abstract name.
  if (path.empty()) return SysResult::Error(EINVAL, call);
  const bool abstract = path[0] == '\0';
  if (!abstract && path.find('\0') != std::string::npos) return SysResult::Error(EINVAL, call);
  // A path needs its NUL, an abstract name has none: all of its bytes count.
  const size_t length = abstract ? path.size() : path.size() + 1;
  if (length > sizeof address->sun_path) return SysResult::Error(ENAMETOOLONG, call);
  std::memcpy(address->sun_path, path.data(), path.size());
  return SysResult::Ok(static_cast<int64_t>(offsetof(sockaddr_un, sun_path) + length));
}

}  // namespace

SysResult BindUnix(const std::string& path, mode_t mode, int type) {
  sockaddr_un address;
  const SysResult length = ToAddress(path, "bind", &address);
  if (length.Failed()) return length;
  UniqueFd fd(socket(AF_UNIX, type | kFlags, 0));
  if (!fd.Valid()) return SysResult::Errno("socket");
  // bind(2) gives the path the socket's own mode less the umask: set first, the path is never more open than that.
  if (fchmod(fd.Get(), mode) != 0) return SysResult::Errno("fchmod");
  if (bind(fd.Get(), reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(length.value)) != 0) {
    return SysResult::Errno("bind");
  }
  return SysResult::Ok(fd.Release());
}

SysResult ConnectUnix(const std::string& path, int type) {
  sockaddr_un address;
  const SysResult length = ToAddress(path, "connect", &address);
  if (length.Failed()) return length;
  UniqueFd fd(socket(AF_UNIX, type | kFlags, 0));
  if (!fd.Valid()) return SysResult::Errno("socket");
  int answer;
  do {
    answer = connect(fd.Get(), reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(length.value));
  } while (answer != 0 && errno == EINTR);
  return answer == 0 ? SysResult::Ok(fd.Release()) : SysResult::Errno("connect");
}

SysResult UnixPair(int fds[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | kFlags, 0, fds) == 0 ? SysResult::Ok() : SysResult::Errno("socketpair");
}

SysResult Listen(int fd, int backlog) {
  return listen(fd, backlog) == 0 ? SysResult::Ok() : SysResult::Errno("listen");
}

std::string PrintablePath(const std::string& path) {
  std::string printable = path;
  if (!printable.empty() && printable[0] == '\0') printable[0] = '@';
  return printable;
}

}  // namespace fdpass
