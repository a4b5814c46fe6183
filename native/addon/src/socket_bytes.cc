// See socket_bytes.h.
#include "socket_bytes.h"

#include <sys/socket.h>

namespace fdpass {
namespace {

SysResult Receive(int fd, uint8_t* target, size_t length, int flags) {
  ssize_t count;
  do {
    count = recv(fd, target, length, flags | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? SysResult::Errno("recv") : SysResult::Ok(count);
}

}  // namespace

SysResult Peek(int fd, uint8_t* target, size_t length) { return Receive(fd, target, length, MSG_PEEK); }

SysResult Read(int fd, uint8_t* target, size_t length) { return Receive(fd, target, length, 0); }

SysResult Write(int fd, const uint8_t* bytes, size_t length) {
  ssize_t count;
  do {
    count = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? SysResult::Errno("send") : SysResult::Ok(count);
}

SysResult Shutdown(int fd, int how) {
  if (shutdown(fd, how) == 0 || errno == ENOTCONN) return SysResult::Ok();
  return SysResult::Errno("shutdown");
}

}  // namespace fdpass
