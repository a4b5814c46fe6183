// Which interface a client came in by, asked of an already accepted and borrowed socket, without privileges.
#ifndef FDPASS_INGRESS_H_
#define FDPASS_INGRESS_H_

#include "system_error.h"

namespace fdpass {

// The ifindex of the device of the ACK that completed the handshake; 0 if the kernel does not say.
SysResult IngressIfindex(int fd);

}  // namespace fdpass

#endif  // FDPASS_INGRESS_H_
