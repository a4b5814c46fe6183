// See ancillary.h.
#include "ancillary.h"

#include <sys/socket.h>

#include <cstring>

namespace fdpass {
namespace {

// Takes every descriptor of one SCM_RIGHTS block: cmsg_len says how many there are, as padding may have room for more.
void TakeFds(const cmsghdr* header, Received* received) {
  const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  const unsigned char* data = CMSG_DATA(header);
  for (size_t i = 0; i < count; i++) {
    int number;
    std::memcpy(&number, data + i * sizeof(int), sizeof number);
    UniqueFd fd(number);
    if (received->fd_count < kMaxPassedFds) {
      received->fds[received->fd_count++] = std::move(fd);
    } else {
      received->too_many_fds = true;
    }
  }
}

}  // namespace

Received ReceiveMessage(int socket, uint8_t* target, size_t room) {
  Received received;
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int) * kMaxInstalledFds)];
  iovec part = {target, room};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  do {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    received.bytes = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (received.bytes < 0 && errno == EINTR);
  if (received.bytes < 0) {
    received.error = errno;
    return received;
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) TakeFds(header, &received);
  }
  received.control_truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  return received;
}

SysResult SendWithFds(int socket, const uint8_t* bytes, size_t length, const std::vector<int>& fds) {
  alignas(cmsghdr) unsigned char control[CMSG_SPACE(sizeof(int) * kMaxPassedFds)] = {};
  if (fds.empty() || fds.size() > kMaxPassedFds) return SysResult::Error(EINVAL, "sendmsg");
  // TCP takes the bytes and ignores SCM_RIGHTS without a word.
  int domain = 0;
  socklen_t domain_length = sizeof domain;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &domain_length) != 0) return SysResult::Errno("sendmsg");
  if (domain != AF_UNIX) return SysResult::Error(EOPNOTSUPP, "sendmsg");
  iovec part = {const_cast<uint8_t*>(bytes), length};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? SysResult::Errno("sendmsg") : SysResult::Ok(sent);
}

}  // namespace fdpass
