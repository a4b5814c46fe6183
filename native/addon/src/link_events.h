// The kernel's word that network interfaces have changed (rtnetlink(7)): a socket to poll, and reading it empty. What has changed is
// asked elsewhere.
#ifndef FDPASS_LINK_EVENTS_H_
#define FDPASS_LINK_EVENTS_H_

#include "system_error.h"

namespace fdpass {

// Returns ownership of a nonblocking CLOEXEC socket that gets a message when an interface of this network namespace comes, goes or
// changes. Needs no privileges.
SysResult OpenLinkEvents();

// Borrows. Reads what waits, a bounded number of messages. 1 if an interface has changed or messages were lost, else 0.
SysResult DrainLinkEvents(int fd);

}  // namespace fdpass

#endif  // FDPASS_LINK_EVENTS_H_
