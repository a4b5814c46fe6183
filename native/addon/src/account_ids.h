// Users and groups by name, for the owner of a socket.
#ifndef FDPASS_ACCOUNT_IDS_H_
#define FDPASS_ACCOUNT_IDS_H_

#include <string>

#include "system_error.h"

namespace fdpass {

// ENOENT if there is no such user or group.
SysResult UserId(const std::string& name);
SysResult GroupId(const std::string& name);

}  // namespace fdpass

#endif  // FDPASS_ACCOUNT_IDS_H_
