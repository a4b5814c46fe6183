// See descriptor_room.h.
#include "descriptor_room.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <climits>
#include <vector>

#include "ancillary.h"
#include "unique_fd.h"

namespace fdpass {
namespace {

// Enough for a few messages when every number below is in use.
constexpr int kZone = 16;

int SoftLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return INT_MAX;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, INT_MAX));
}

}  // namespace

void DescriptorRoom::Measure() {
  limit_ = SoftLimit();
  zone_begin_ = std::max(0, limit_ - kZone);
  free_in_zone_ = 0;
  pollfd zone[kZone] = {};
  const int size = limit_ - zone_begin_;
  for (int i = 0; i < size; i++) zone[i].fd = zone_begin_ + i;
  // poll(2) answers POLLNVAL for a number that is not open: one call, and no descriptor is made to find out.
  if (poll(zone, static_cast<nfds_t>(size), 0) < 0) return;
  for (int i = 0; i < size; i++) {
    if ((zone[i].revents & POLLNVAL) != 0) free_in_zone_++;
  }
}

void DescriptorRoom::Took(int fd) {
  if (fd >= zone_begin_) free_in_zone_--;
}

// The top of the table is the last to be used, so a free zone there answers nearly every time. When it is in use there may still
// be room below, which only trying tells.
bool DescriptorRoom::Has(int count) const {
  if (free_in_zone_ >= count) return true;
  std::vector<UniqueFd> tries;
  for (int i = 0; i < count; i++) {
    tries.emplace_back(fcntl(probe_, F_DUPFD_CLOEXEC, 0));
    if (!tries.back().Valid()) return false;
  }
  return true;
}

bool DescriptorRoom::ForMessage() const { return Has(kMaxInstalledFds); }

bool DescriptorRoom::ForConnection() const { return Has(1 + kMaxInstalledFds); }

bool DescriptorRoom::IsTight(int fd) const { return fd >= limit_ - std::min(min_free_, limit_ / 2); }

bool DescriptorRoom::HasHeadroom() const {
  const UniqueFd lowest(fcntl(probe_, F_DUPFD_CLOEXEC, 0));
  return lowest.Valid() && !IsTight(lowest.Get()) && ForConnection();
}

}  // namespace fdpass
