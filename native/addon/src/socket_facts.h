// What a borrowed socket is: family and kind, addresses, the peer's credentials, TCP_INFO, the interfaces around it.
#ifndef FDPASS_SOCKET_FACTS_H_
#define FDPASS_SOCKET_FACTS_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "system_error.h"

namespace fdpass {

// The bits of SOCKET_FACT in index.ts; 0 for a descriptor that is no socket.
SysResult SocketFacts(int fd);
int32_t SocketFactsOrNone(int fd);

// EINVAL unless `fd` is a listening AF_UNIX stream socket.
SysResult CheckUnixListener(int fd);

struct Address {
  const char* family = "";
  std::string text;
  int port = 0;
};

SysResult LocalAddress(int fd, Address* address);
SysResult PeerAddress(int fd, Address* address);

SysResult PeerCredentials(int fd, ucred* peer);

// The same for a record: uid and gid are -1 where the kernel does not say, never 0 (root).
ucred ReadPeer(int fd);

using Interfaces = std::vector<std::pair<unsigned, std::string>>;
SysResult ReadInterfaces(Interfaces* interfaces);

}  // namespace fdpass

#endif  // FDPASS_SOCKET_FACTS_H_
