// See tls_records.h.
#include "tls_records.h"

#include <linux/tls.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace fdpass {
namespace {

// Not in the headers of every C library.
constexpr int kSolTls = 282;
constexpr uint8_t kAlert = 21;
constexpr uint8_t kApplicationData = 23;
constexpr int64_t kOtherDirection = -1;
// Empty records that are read past in one call: a client can send them without end.
constexpr int kEmptyRecords = 16;

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

std::optional<uint8_t> TypeIn(msghdr* message) {
  for (const cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr;
       header = CMSG_NXTHDR(message, const_cast<cmsghdr*>(header))) {
    if (header->cmsg_level != kSolTls || header->cmsg_type != TLS_GET_RECORD_TYPE) continue;
    uint8_t type;
    std::memcpy(&type, CMSG_DATA(header), sizeof type);
    return type;
  }
  return std::nullopt;
}

}  // namespace

SysResult TlsDirection(int fd, int direction) {
  tls_crypto_info info = {};
  socklen_t length = sizeof info;
  if (getsockopt(fd, kSolTls, direction, &info, &length) == 0) {
    return SysResult::Ok(static_cast<int64_t>(info.version) << 16 | info.cipher_type);
  }
  // No TLS at all, or a socket that knows none.
  if (errno == EOPNOTSUPP || errno == ENOPROTOOPT) return SysResult::Ok(0);
  if (errno == EBUSY) return SysResult::Ok(kOtherDirection);
  return SysResult::Errno("getsockopt");
}

SysResult ReadTlsRecord(int fd, uint8_t* target, size_t length) {
  iovec part = {target, length};
  RecordType control;
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  for (int empty = 0; empty < kEmptyRecords; empty++) {
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
    const std::optional<uint8_t> type = TypeIn(&message);
    if (type && *type != kApplicationData) return SysResult::Ok(-(static_cast<int64_t>(*type) << 16 | count));
    // The end of the stream has no type.
    if (count > 0 || !type) return SysResult::Ok(count);
  }
  errno = EAGAIN;
  return SysResult::Errno("recvmsg");
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
