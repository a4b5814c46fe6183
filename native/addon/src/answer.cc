// See answer.h.
#include "answer.h"

#include <sys/socket.h>
#include <sys/uio.h>

namespace fdpass {

SysResult SendAnswer(int fd, Bytes head, Bytes body, bool end_follows) {
  iovec parts[2] = {{head.data, head.length}, {body.data, body.length}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = body.length == 0 ? 1 : 2;
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (end_follows ? MSG_MORE : 0);
  ssize_t sent;
  do {
    sent = sendmsg(fd, &message, flags);
  } while (sent < 0 && errno == EINTR);
  const size_t left = head.length + body.length - (sent < 0 ? 0 : static_cast<size_t>(sent));
  // Closing would not do: as long as the sender, or a process that has not looked yet, has a copy, nothing would be sent.
  if (end_follows && left == 0) shutdown(fd, SHUT_WR);
  return SysResult::Ok(static_cast<int64_t>(left));
}

}  // namespace fdpass
