// Making TCP sockets: bound, and accepted from a listening one (of any family). Every socket is CLOEXEC and nonblocking.
#ifndef FDPASS_TCP_SOCKET_H_
#define FDPASS_TCP_SOCKET_H_

#include <string>

#include "system_error.h"

namespace fdpass {

// Returns ownership. `address` is an IPv4 or IPv6 literal, a link-local one with its zone ("fe80::1%eth0"); '::' is dual-stack.
SysResult BindTcp(const std::string& address, int port);

// Returns ownership. EAGAIN is the answer for everything that says "nothing this time": the accept queue is empty, or the
// client was gone again (accept(2), "Error handling").
SysResult Accept(int fd);

}  // namespace fdpass

#endif  // FDPASS_TCP_SOCKET_H_
