// See ingress.h. The kernel keeps the interface beside the packet options it would report with received data (ip(7), ipv6(7));
// on a TCP socket the options are read by getsockopt.
#include "ingress.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace fdpass {
namespace {

// From linux/in6.h, which cannot be included beside netinet/in.h. netinet/in.h has IPV6_RECVPKTINFO.
#ifndef IPV6_2292PKTOPTIONS
constexpr int IPV6_2292PKTOPTIONS = 6;
#endif

struct Family {
  int level;
  int switch_option;
  int read_option;
  int cmsg_type;
};

constexpr Family kV4 = {IPPROTO_IP, IP_PKTINFO, IP_PKTOPTIONS, IP_PKTINFO};
constexpr Family kV6 = {IPPROTO_IPV6, IPV6_RECVPKTINFO, IPV6_2292PKTOPTIONS, IPV6_PKTINFO};

// Switches a socket option on and, when it goes out of scope, back to what it was: while it is on, a native IPv6 socket would
// store the interface of every later packet.
class SwitchedOn {
 public:
  SwitchedOn(int fd, int level, int option) : fd_(fd), level_(level), option_(option) {
    socklen_t length = sizeof before_;
    const int on = 1;
    if (getsockopt(fd, level, option, &before_, &length) != 0) {
      error_ = errno;
    } else if (before_ == 0 && setsockopt(fd, level, option, &on, sizeof on) != 0) {
      error_ = errno;
    } else {
      restore_ = before_ == 0;
    }
  }
  ~SwitchedOn() {
    const int off = 0;
    if (restore_) setsockopt(fd_, level_, option_, &off, sizeof off);
  }
  SwitchedOn(const SwitchedOn&) = delete;
  SwitchedOn& operator=(const SwitchedOn&) = delete;
  int error() const { return error_; }

 private:
  int fd_;
  int level_;
  int option_;
  int before_ = 0;
  int error_ = 0;
  bool restore_ = false;
};

int64_t IfindexIn(msghdr* message, const Family& family) {
  for (cmsghdr* header = CMSG_FIRSTHDR(message); header != nullptr; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != family.level || header->cmsg_type != family.cmsg_type) continue;
    if (family.level == IPPROTO_IP && header->cmsg_len >= CMSG_LEN(sizeof(in_pktinfo))) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      return info.ipi_ifindex;
    }
    if (family.level == IPPROTO_IPV6 && header->cmsg_len >= CMSG_LEN(sizeof(in6_pktinfo))) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(header), sizeof info);
      return info.ipi6_ifindex;
    }
  }
  return 0;
}

}  // namespace

SysResult IngressIfindex(int fd) {
  int domain = 0;
  socklen_t length = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return SysResult::Errno("getsockopt");
  if (domain != AF_INET && domain != AF_INET6) return SysResult::Ok(0);
  // Also for an IPv4-mapped client the socket's own family counts.
  const Family& family = domain == AF_INET ? kV4 : kV6;
  // Room for every option that may be switched on beside ours (hop limits, traffic class, timestamps, ...).
  alignas(cmsghdr) unsigned char control[1024] = {};
  length = sizeof control;
  {
    const SwitchedOn option(fd, family.level, family.switch_option);
    if (option.error() != 0) return SysResult::Error(option.error(), "setsockopt");
    if (getsockopt(fd, family.level, family.read_option, control, &length) != 0) return SysResult::Errno("getsockopt");
  }
  msghdr message = {};
  message.msg_control = control;
  message.msg_controllen = length;
  return SysResult::Ok(IfindexIn(&message, family));
}

}  // namespace fdpass
