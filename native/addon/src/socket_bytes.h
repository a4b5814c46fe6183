// Bytes in and out of a borrowed socket. Nothing here blocks, whatever flags the descriptor has.
#ifndef FDPASS_SOCKET_BYTES_H_
#define FDPASS_SOCKET_BYTES_H_

#include <cstddef>
#include <cstdint>

#include "system_error.h"

namespace fdpass {

// The value is the number of bytes: 0 from Peek and Read is the end.
SysResult Peek(int fd, uint8_t* target, size_t length);
SysResult Read(int fd, uint8_t* target, size_t length);
SysResult Write(int fd, const uint8_t* bytes, size_t length);

// ENOTCONN is no failure: the peer was faster.
SysResult Shutdown(int fd, int how);

}  // namespace fdpass

#endif  // FDPASS_SOCKET_BYTES_H_
