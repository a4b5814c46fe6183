// The one owner of a descriptor inside the addon. Knows nothing of registries or JavaScript.
#ifndef FDPASS_UNIQUE_FD_H_
#define FDPASS_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace fdpass {

// Move-only; closes what it owns. Empty is -1 and only -1: 0 is a descriptor like any other.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd < 0 ? kEmpty : fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  bool Valid() const { return fd_ != kEmpty; }

  // Borrows.
  int Get() const { return fd_; }

  // Returns ownership.
  int Release() { return std::exchange(fd_, kEmpty); }

  // Takes `fd`. close(2) is not repeated on EINTR: Linux has freed the number by then, and another thread may have it.
  void Reset(int fd = kEmpty) {
    const int old = std::exchange(fd_, fd);
    if (old != kEmpty) ::close(old);
  }

 private:
  static constexpr int kEmpty = -1;
  int fd_ = kEmpty;
};

}  // namespace fdpass

#endif  // FDPASS_UNIQUE_FD_H_
