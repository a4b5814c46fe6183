// Making AF_UNIX sockets: bound, connected, in pairs. Every socket is CLOEXEC and nonblocking.
#ifndef FDPASS_UNIX_SOCKET_H_
#define FDPASS_UNIX_SOCKET_H_

#include <sys/types.h>

#include <string>

#include "system_error.h"

namespace fdpass {

// Each returns ownership of the descriptor in the value. A path that begins with NUL is abstract (unix(7)). `type` is SOCK_STREAM or
// SOCK_DGRAM.
SysResult BindUnix(const std::string& path, mode_t mode, int type);
SysResult ConnectUnix(const std::string& path, int type);

// Returns ownership of both.
SysResult UnixPair(int fds[2]);

// Borrows.
SysResult Listen(int fd, int backlog);

// The path as an error may show it: an abstract one with '@' for its NUL.
std::string PrintablePath(const std::string& path);

}  // namespace fdpass

#endif  // FDPASS_UNIX_SOCKET_H_
