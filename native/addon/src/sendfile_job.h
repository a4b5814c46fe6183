// One sendfile(2) in the thread pool, from a file to a socket, until the length, the end of the file, a full socket or
// the end of its turn.
#ifndef FDPASS_SENDFILE_JOB_H_
#define FDPASS_SENDFILE_JOB_H_

#include <node_api.h>

#include <cstdint>

#include "system_error.h"

namespace fdpass {

// Borrows both descriptors: the job works on duplicates, so that a descriptor that is closed too early, and its number given to
// another client, does no harm. Makes `out_fd` nonblocking: a thread of the pool waits for
// a client for a few milliseconds at most, and one thread at a time. With a failure the callback is not called.
SysResult StartSendfile(napi_env env, int out_fd, int in_fd, uint64_t offset, uint64_t length, napi_value callback);

}  // namespace fdpass

#endif  // FDPASS_SENDFILE_JOB_H_
