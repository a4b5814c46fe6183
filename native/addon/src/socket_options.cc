// See socket_options.h.
#include "socket_options.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstddef>
#include <limits>

namespace fdpass {
namespace {

#ifndef TCP_ULP
constexpr int TCP_ULP = 31;
#endif

static_assert(offsetof(TcpInfo, pacing_rate) == 104 && offsetof(TcpInfo, delivery_rate) == 160 &&
                  offsetof(TcpInfo, bytes_sent) == 200 && sizeof(TcpInfo) == 216,
              "TcpInfo has the kernel's layout");

SysResult QueueBytes(int fd, unsigned long request) {
  int bytes = 0;
  return ioctl(fd, request, &bytes) == 0 ? SysResult::Ok(bytes) : SysResult::Errno("ioctl");
}

double Limit(rlim_t value) {
  return value == RLIM_INFINITY ? std::numeric_limits<double>::infinity() : static_cast<double>(value);
}

}  // namespace

SysResult GetOption(int fd, int level, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  if (getsockopt(fd, level, name, &value, &length) != 0) return SysResult::Errno("getsockopt");
  return SysResult::Ok(value);
}

SysResult SetOption(int fd, int level, int name, int value) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0) return SysResult::Errno("setsockopt");
  return SysResult::Ok();
}

SysResult ReadTcpInfo(int fd, TcpInfo* info) {
  *info = {};
  socklen_t length = sizeof *info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) != 0) return SysResult::Errno("getsockopt");
  return SysResult::Ok();
}

SysResult ReadTcpBytes(int fd, double* received, double* sent) {
  TcpInfo tcp;
  const SysResult answer = ReadTcpInfo(fd, &tcp);
  if (answer.Failed()) return answer;
  // A FIN takes a place in the sequence of bytes, and is none: theirs has come, ours waits behind what is not sent yet.
  const bool has_their_fin = tcp.state == TCP_CLOSE_WAIT || tcp.state == TCP_LAST_ACK || tcp.state == TCP_CLOSING ||
                             tcp.state == TCP_TIME_WAIT;
  const bool has_our_fin = tcp.state == TCP_FIN_WAIT1 || tcp.state == TCP_CLOSING || tcp.state == TCP_LAST_ACK;
  *received = static_cast<double>(tcp.bytes_received) - (has_their_fin ? 1 : 0);
  *sent = static_cast<double>(tcp.bytes_sent - tcp.bytes_retrans) + tcp.notsent_bytes -
          (has_our_fin && tcp.notsent_bytes > 0 ? 1 : 0);
  return answer;
}

SysResult ReadTcpUlp(int fd, std::string* name) {
  char text[16] = "";
  socklen_t length = sizeof text;
  if (getsockopt(fd, IPPROTO_TCP, TCP_ULP, text, &length) != 0) {
    // Another family, or a kernel before 4.13: no upper layer protocol either way.
    if (errno == EOPNOTSUPP || errno == ENOPROTOOPT) return SysResult::Ok();
    return SysResult::Errno("getsockopt");
  }
  const std::string all(text, length);
  *name = all.substr(0, all.find('\0'));
  return SysResult::Ok();
}

SysResult ReadQueueBytes(int fd) { return QueueBytes(fd, SIOCINQ); }

SysResult WriteQueueBytes(int fd) { return QueueBytes(fd, SIOCOUTQ); }

SysResult ReadDescriptorLimits(DescriptorLimits* limits) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return SysResult::Errno("getrlimit");
  *limits = {Limit(limit.rlim_cur), Limit(limit.rlim_max)};
  return SysResult::Ok();
}

}  // namespace fdpass
