// See socket_facts.h.
#include "socket_facts.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>

namespace fdpass {
namespace {

constexpr int kTypeShift = 8;
constexpr int32_t kListening = 1 << 12;
constexpr int32_t kConnected = 1 << 13;

bool SocketOption(int fd, int name, int* value) {
  socklen_t length = sizeof *value;
  return getsockopt(fd, SOL_SOCKET, name, value, &length) == 0;
}

std::string ScopeName(uint32_t scope) {
  char name[IF_NAMESIZE] = "";
  if (if_indextoname(scope, name) != nullptr) return std::string("%") + name;
  return "%" + std::to_string(scope);
}

SysResult ToAddress(const sockaddr_storage& storage, socklen_t length, const char* call, Address* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    *address = {"IPv4", text, ntohs(v4.sin_port)};
  } else if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    *address = {"IPv6", text, ntohs(v6.sin6_port)};
    if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) && v6.sin6_scope_id != 0) address->text += ScopeName(v6.sin6_scope_id);
  } else if (storage.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(storage);
    const size_t begin = offsetof(sockaddr_un, sun_path);
    std::string path(local.sun_path, length > begin ? length - begin : 0);
    // The kernel counts the NUL behind a path; in an abstract name every byte is meant.
    if (!path.empty() && path[0] != '\0') path.resize(path.find_last_not_of('\0') + 1);
    *address = {"unix", path, 0};
  } else {
    return SysResult::Error(EAFNOSUPPORT, call);
  }
  return SysResult::Ok();
}

}  // namespace

SysResult SocketFacts(int fd) {
  int domain = 0, type = 0, listening = 0;
  // Asked of every descriptor that is passed: a peer of these families says the domain, and that the socket does not listen.
  sockaddr_storage peer;
  socklen_t length = sizeof peer;
  const bool connected = getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
  const bool tells_domain = connected && length >= sizeof peer.ss_family &&
                            (peer.ss_family == AF_INET || peer.ss_family == AF_INET6 || peer.ss_family == AF_UNIX);
  if (tells_domain && SocketOption(fd, SO_TYPE, &type)) {
    return SysResult::Ok(peer.ss_family | ((type & 0xf) << kTypeShift) | kConnected);
  }
  if (!SocketOption(fd, SO_DOMAIN, &domain)) {
    return errno == ENOTSOCK ? SysResult::Ok(0) : SysResult::Errno("getsockopt");
  }
  if (!SocketOption(fd, SO_TYPE, &type)) return SysResult::Errno("getsockopt");
  // Not every family has SO_ACCEPTCONN; one without it does not listen.
  if (!SocketOption(fd, SO_ACCEPTCONN, &listening)) listening = 0;
  return SysResult::Ok((domain & 0xff) | ((type & 0xf) << kTypeShift) | (listening != 0 ? kListening : 0) |
                       (connected ? kConnected : 0));
}

int32_t SocketFactsOrNone(int fd) {
  const SysResult facts = SocketFacts(fd);
  return facts.Failed() ? 0 : static_cast<int32_t>(facts.value);
}

SysResult CheckUnixListener(int fd) {
  int domain = 0, type = 0, listening = 0;
  if (!SocketOption(fd, SO_DOMAIN, &domain) || !SocketOption(fd, SO_TYPE, &type) ||
      !SocketOption(fd, SO_ACCEPTCONN, &listening)) {
    return SysResult::Errno("getsockopt");
  }
  if (domain != AF_UNIX || type != SOCK_STREAM || listening == 0) return SysResult::Error(EINVAL, "accept4");
  return SysResult::Ok();
}

SysResult LocalAddress(int fd, Address* address) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return SysResult::Errno("getsockname");
  return ToAddress(storage, length, "getsockname", address);
}

SysResult PeerAddress(int fd, Address* address) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return SysResult::Errno("getpeername");
  return ToAddress(storage, length, "getpeername", address);
}

SysResult PeerCredentials(int fd, ucred* peer) {
  socklen_t length = sizeof *peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) != 0) return SysResult::Errno("getsockopt");
  return SysResult::Ok();
}

ucred ReadPeer(int fd) {
  ucred peer = {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  const SysResult answer = PeerCredentials(fd, &peer);
  if (answer.Failed()) return {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  return peer;
}

SysResult ReadInterfaces(Interfaces* interfaces) {
  struct if_nameindex* list = if_nameindex();
  if (list == nullptr) return SysResult::Errno("if_nameindex");
  for (const struct if_nameindex* entry = list; entry->if_index != 0 && entry->if_name != nullptr; entry++) {
    interfaces->emplace_back(entry->if_index, entry->if_name);
  }
  if_freenameindex(list);
  return SysResult::Ok();
}

}  // namespace fdpass
