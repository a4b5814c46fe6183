// An exclusive flock(2) on a directory: it ends with its owner, also if the process is killed.
#ifndef FDPASS_DIRECTORY_LOCK_H_
#define FDPASS_DIRECTORY_LOCK_H_

#include <string>

#include "system_error.h"

namespace fdpass {

// Returns ownership of the descriptor that holds the lock; closing it unlocks. Sleeps in short steps for up to `timeout_ms`,
// then fails with EWOULDBLOCK.
SysResult LockDirectory(const std::string& directory, int timeout_ms);

}  // namespace fdpass

#endif  // FDPASS_DIRECTORY_LOCK_H_
