// Making TCP sockets: bound, and accepted from a listening one (of any family). Every socket is CLOEXEC and nonblocking.
#ifndef FDPASS_TCP_SOCKET_H_
#define FDPASS_TCP_SOCKET_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "system_error.h"

namespace fdpass {

// Returns ownership. `address` is an IPv4 or IPv6 literal, a link-local one with its zone ("fe80::1%eth0"); '::' is dual-stack.
// `reuse_port`: SO_REUSEPORT, to join the sockets of this user on that port.
SysResult BindTcp(const std::string& address, int port, bool reuse_port);

// Returns ownership. EAGAIN is the answer for everything that says "nothing this time": the accept queue is empty, or the
// client was gone again (accept(2), "Error handling").
SysResult Accept(int fd);

// Borrows: from now on close(2) resets the connection (socket(7), SO_LINGER). Nothing happens to what is no TCP socket.
void ResetWhenClosed(int fd);

// Borrows: the classic BPF program that chooses one of all sockets of `fd`'s SO_REUSEPORT group, each an index in the order of
// listen() (socket(7)). `program` is whole struct sock_filter; EINVAL if the kernel refuses it, ENOMEM past net.core.optmem_max.
SysResult AttachReuseportFilter(int fd, const uint8_t* program, size_t length);

}  // namespace fdpass

#endif  // FDPASS_TCP_SOCKET_H_
