// Records of a borrowed kernel TLS socket: what the kernel does for it, records in by type, alerts out. See the kernel's
// Documentation/networking/tls.rst and linux/tls.h. Nothing here blocks.
#ifndef FDPASS_TLS_RECORDS_H_
#define FDPASS_TLS_RECORDS_H_

#include <cstddef>
#include <cstdint>

#include "system_error.h"

namespace fdpass {

// The directions of TLS_TX and TLS_RX.
constexpr int kTlsTx = 1;
constexpr int kTlsRx = 2;

// Version and cipher of one direction, `version << 16 | cipher`; 0 if the kernel does not do it.
SysResult TlsDirection(int fd, int direction);

// Application data: the number of bytes, 0 at the end of the TCP stream. A record of another type: -(type << 16 | length). It never
// mixes the two. A record that cannot be decrypted leaves the writing side as it was.
SysResult ReadTlsRecord(int fd, uint8_t* target, size_t length);

// One alert record (RFC 8446, section 6).
SysResult SendTlsAlert(int fd, uint8_t level, uint8_t description);

}  // namespace fdpass

#endif  // FDPASS_TLS_RECORDS_H_
