// See link_events.h.
#include "link_events.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "unique_fd.h"

namespace fdpass {
namespace {

// What is left makes the socket readable again.
constexpr int kMaxReads = 64;

}  // namespace

SysResult OpenLinkEvents() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.Valid()) return SysResult::Errno("socket");
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK;
  if (bind(fd.Get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return SysResult::Errno("bind");
  return SysResult::Ok(fd.Release());
}

SysResult DrainLinkEvents(int fd) {
  // Nothing comes here but what it is subscribed to, so a message says enough by being one: the rest of it is cut off.
  nlmsghdr header;
  bool has_changed = false;
  for (int reads = 0; reads < kMaxReads; reads++) {
    const ssize_t length = recv(fd, &header, sizeof header, MSG_DONTWAIT);
    if (length > 0) {
      has_changed = true;
    } else if (length == 0 || errno == EAGAIN) {
      break;
    } else if (errno == ENOBUFS) {
      // netlink(7): messages did not fit into the socket's buffer, and nobody knows which.
      has_changed = true;
    } else if (errno != EINTR) {
      return SysResult::Errno("recv");
    }
  }
  return SysResult::Ok(has_changed ? 1 : 0);
}

}  // namespace fdpass
