// See tcp_socket.h.
#include "tcp_socket.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "unique_fd.h"

namespace fdpass {
namespace {

// The interface of a zone, by name or by number; 0 if there is none of that name.
uint32_t ScopeOf(const std::string& zone) {
  const unsigned index = if_nametoindex(zone.c_str());
  if (index != 0) return index;
  return static_cast<uint32_t>(std::strtoul(zone.c_str(), nullptr, 10));
}

// Answers the address's length; 0 if the text is no IP literal.
socklen_t ParseAddress(const std::string& text, int port, sockaddr_storage* storage) {
  *storage = {};
  const uint16_t network_port = htons(static_cast<uint16_t>(port));
  auto* v4 = reinterpret_cast<sockaddr_in*>(storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = network_port;
    return sizeof *v4;
  }
  *storage = {};
  auto* v6 = reinterpret_cast<sockaddr_in6*>(storage);
  const size_t percent = text.find('%');
  if (inet_pton(AF_INET6, text.substr(0, percent).c_str(), &v6->sin6_addr) != 1) return 0;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = network_port;
  if (percent != std::string::npos) {
    v6->sin6_scope_id = ScopeOf(text.substr(percent + 1));
    if (v6->sin6_scope_id == 0) return 0;
  }
  return sizeof *v6;
}

// accept(2): errors of the network that were pending on the new connection, to be treated like EAGAIN.
bool ClientIsGone(int error) {
  switch (error) {
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace

SysResult BindTcp(const std::string& address, int port, bool reuse_port) {
  sockaddr_storage storage;
  const socklen_t length = ParseAddress(address, port, &storage);
  if (length == 0) return SysResult::Error(EINVAL, "bind");
  UniqueFd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.Valid()) return SysResult::Errno("socket");
  const int on = 1;
  if (setsockopt(fd.Get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return SysResult::Errno("setsockopt");
  if (reuse_port && setsockopt(fd.Get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    return SysResult::Errno("setsockopt");
  }
  if (storage.ss_family == AF_INET6) {
    // The system's default (net.ipv6.bindv6only) may be the other way.
    const int off = 0;
    if (setsockopt(fd.Get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) return SysResult::Errno("setsockopt");
  }
  if (bind(fd.Get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) return SysResult::Errno("bind");
  return SysResult::Ok(fd.Release());
}

SysResult Accept(int fd) {
  int accepted;
  do {
    accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (accepted < 0 && errno == EINTR);
  if (accepted >= 0) return SysResult::Ok(accepted);
  return SysResult::Error(ClientIsGone(errno) ? EAGAIN : errno, "accept");
}

void ResetWhenClosed(int fd) {
  const linger at_once = {1, 0};
  // Whether it was closed is what the caller is told.
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

SysResult AttachReuseportFilter(int fd, const uint8_t* program, size_t length) {
  const size_t count = length / sizeof(sock_filter);
  // Past this the kernel's own count would wrap around.
  if (length % sizeof(sock_filter) != 0 || count > BPF_MAXINSNS) return SysResult::Error(EINVAL, "setsockopt");
  // A copy: nobody promised that the caller's bytes are aligned.
  std::vector<sock_filter> instructions(count);
  if (count > 0) std::memcpy(instructions.data(), program, length);
  const sock_fprog filter = {static_cast<unsigned short>(count), instructions.data()};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) != 0) {
    return SysResult::Errno("setsockopt");
  }
  return SysResult::Ok();
}

}  // namespace fdpass
