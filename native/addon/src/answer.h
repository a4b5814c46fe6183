// A whole answer to a client in one call.
#ifndef FDPASS_ANSWER_H_
#define FDPASS_ANSWER_H_

#include "arguments.h"
#include "system_error.h"

namespace fdpass {

// Borrows `fd`, and does not block. The value is how many bytes of head and body together were not taken: 0 is all of it, more
// means that the socket is full or has failed. What failed is for the next call on the socket to say.
// `end_follows`: if all of it is taken, the writing side is shut down, which leaves in one segment with the last bytes.
SysResult SendAnswer(int fd, Bytes head, Bytes body, bool end_follows);

}  // namespace fdpass

#endif  // FDPASS_ANSWER_H_
