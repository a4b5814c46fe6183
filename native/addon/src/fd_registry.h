// The descriptors that belong to an environment but to no C++ object: received or detached, not yet taken by JavaScript.
// Closed when the environment ends, so a worker that is terminated in the middle of a batch leaks none.
#ifndef FDPASS_FD_REGISTRY_H_
#define FDPASS_FD_REGISTRY_H_

#include <cstddef>
#include <vector>

#include "system_error.h"
#include "unique_fd.h"

namespace fdpass {

class FdRegistry {
 public:
  FdRegistry() = default;
  FdRegistry(const FdRegistry&) = delete;
  FdRegistry& operator=(const FdRegistry&) = delete;
  ~FdRegistry() { CloseAll(); }

  // Takes ownership; answers the number JavaScript will know it by (-1 for an empty one).
  int Add(UniqueFd fd);

  // Takes ownership of what JavaScript got otherwise. A descriptor that is not open is EBADF.
  SysResult Register(int fd);

  // Returns ownership. Harmless for a descriptor that is not registered.
  void Take(int fd);

  // Closes a descriptor, registered or not.
  SysResult Close(int fd);

  void CloseAll();
  size_t size() const { return size_; }

 private:
  void Insert(int fd);

  // By number: the kernel gives the lowest that is free, and a set would allocate for each.
  std::vector<bool> is_ours_;
  size_t size_ = 0;
};

// Borrows; returns ownership of a CLOEXEC duplicate, which is not registered.
SysResult Duplicate(int fd);

}  // namespace fdpass

#endif  // FDPASS_FD_REGISTRY_H_
