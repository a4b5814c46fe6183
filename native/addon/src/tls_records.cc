// See tls_records.h.
#include "tls_records.h"

#include <linux/tls.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace fdpass {
namespace {

// Not in the headers of every C library.
constexpr int kSolTls = 282;
constexpr uint8_t kAlert = 21;
constexpr uint8_t kApplicationData = 23;

union RecordType {
  cmsghdr align;
  char space[CMSG_SPACE(sizeof(uint8_t))];
};

// The kernel notes what it could not decrypt as the socket's error, too, which the next write would fail with for good: not even
// the answer that is being sent would arrive. Asking for it takes it away.
void ForgetSocketError(int fd) {
  const int kept = errno;
  int error;
  socklen_t length = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  errno = kept;
}

}  // namespace

SysResult TlsDirection(int fd, int direction) {
  tls_crypto_info info = {};
  socklen_t length = sizeof info;
  if (getsockopt(fd, kSolTls, direction, &info, &length) == 0) {
    return SysResult::Ok(static_cast<int64_t>(info.version) << 16 | info.cipher_type);
  }
  // EBUSY: TLS, but not in this direction. The others: no TLS at all, or a socket that knows none.
  if (errno == EBUSY || errno == EOPNOTSUPP || errno == ENOPROTOOPT) return SysResult::Ok(0);
  return SysResult::Errno("getsockopt");
}

SysResult ReadTlsRecord(int fd, uint8_t* target, size_t length) {
  iovec part = {target, length};
  RecordType control;
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t count;
  do {
    message.msg_control = &control;
    message.msg_controllen = sizeof control.space;
    count = recvmsg(fd, &message, MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0) {
    if (errno != EAGAIN) ForgetSocketError(fd);
    return SysResult::Errno("recvmsg");
  }
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level != kSolTls || header->cmsg_type != TLS_GET_RECORD_TYPE) continue;
    uint8_t type;
    std::memcpy(&type, CMSG_DATA(header), sizeof type);
    if (type != kApplicationData) return SysResult::Ok(-(static_cast<int64_t>(type) << 16 | count));
  }
  return SysResult::Ok(count);
}

SysResult SendTlsAlert(int fd, uint8_t level, uint8_t description) {
  uint8_t alert[2] = {level, description};
  iovec part = {alert, sizeof alert};
  RecordType control = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control.space;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = kSolTls;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(sizeof kAlert);
  std::memcpy(CMSG_DATA(header), &kAlert, sizeof kAlert);
  ssize_t count;
  do {
    count = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? SysResult::Errno("sendmsg") : SysResult::Ok(count);
}

}  // namespace fdpass
