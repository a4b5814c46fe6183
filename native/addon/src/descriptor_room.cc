// See descriptor_room.h.
#include "descriptor_room.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <climits>

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

bool DescriptorRoom::ForMessage() const { return free_in_zone_ >= kMaxInstalledFds; }

bool DescriptorRoom::ForConnection() const { return free_in_zone_ > kMaxInstalledFds; }

bool DescriptorRoom::HasHeadroom(int any_fd) const {
  const UniqueFd probe(fcntl(any_fd, F_DUPFD_CLOEXEC, 0));
  return probe.Valid() && !IsTight(probe.Get()) && ForConnection();
}

}  // namespace fdpass
