// recvmsg and sendmsg with SCM_RIGHTS (unix(7)). Knows what came with which bytes, not what it means.
#ifndef FDPASS_ANCILLARY_H_
#define FDPASS_ANCILLARY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "system_error.h"
#include "unique_fd.h"

namespace fdpass {

// Most descriptors one message of the wire may carry.
constexpr int kMaxPassedFds = 2;

// Most descriptors the kernel may install before they are counted: the control buffer has room for two more than are
// allowed, so that "too many" is told from "cut".
constexpr int kMaxInstalledFds = 4;

struct Received {
  ssize_t bytes = 0;  // -1 with `error` set
  int error = 0;
  int fd_count = 0;
  UniqueFd fds[kMaxPassedFds];
  bool control_truncated = false;
  bool too_many_fds = false;
};

// One recvmsg, without blocking, with MSG_CMSG_CLOEXEC. EINTR is retried, EAGAIN is an error like any other.
Received ReceiveMessage(int socket, uint8_t* target, size_t room);

// One sendmsg, without blocking; borrows `fds`. The value is the bytes sent: with fewer than `length`, the descriptors went along.
SysResult SendWithFds(int socket, const uint8_t* bytes, size_t length, const std::vector<int>& fds);

}  // namespace fdpass

#endif  // FDPASS_ANCILLARY_H_
