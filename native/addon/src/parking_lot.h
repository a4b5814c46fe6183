// Clients that wait for nothing but their next request: many descriptors at a hundred bytes each, on one epoll of the environment's
// loop. What they send is read here, and told in batches.
#ifndef FDPASS_PARKING_LOT_H_
#define FDPASS_PARKING_LOT_H_

#include <node_api.h>
#include <sys/epoll.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "environment.h"
#include "js_callback.h"
#include "system_error.h"
#include "unique_fd.h"

namespace fdpass {

// What is told of a client. The layout is PARKING and PARKING_EVENT of index.ts.
enum ParkingEvent : int32_t {
  kParkingRead = 1,     // it stays, without a deadline
  kParkingEnded = 2,    // its end, or an error of the socket: it has left
  kParkingExpired = 3,  // it has left
};

struct ParkingRecord {
  int32_t fd;
  int32_t event;
  int32_t offset;
  int32_t length;
};
static_assert(sizeof(ParkingRecord) == 4 * sizeof(int32_t), "a record is PARKING.STRIDE integers without padding");

// Borrows descriptors: one that is here must be unparked before it is closed.
class ParkingLot final : public LoopResource {
 public:
  explicit ParkingLot(Environment& environment) : LoopResource(environment) {}

  SysResult Open();
  JsCallback& on_events() { return on_events_; }

  // `timeout_ms` from now on, 0 for ever; for one that is here already it is set anew.
  SysResult Park(int fd, uint32_t timeout_ms);
  // False if it is not here (any more).
  bool Unpark(int fd);
  size_t size() const { return clients_.size(); }
  void Close() override;

 private:
  // In the loop's time. A client has at most one entry among those due; it may be earlier than its deadline, which moves with
  // every request, and is put right when its time comes.
  struct Client {
    uint64_t deadline_ms = kNever;
    uint64_t due_ms = kNever;
  };
  using Due = std::pair<uint64_t, int>;

  static constexpr uint64_t kNever = 0;
  // Of one wake-up: more would starve the loop.
  static constexpr int kMaxEvents = 64;
  // Of one client in one wake-up: more than a request without a body has.
  static constexpr size_t kReadBytes = 16 * 1024;

  static void OnReadable(uv_poll_t* handle, int status, int events);
  static void OnTimer(uv_timer_t* handle);
  static void OnHandleClosed(uv_handle_t* handle);

  void Read(int fd);
  void Leave(int fd, ParkingEvent event);
  void SetDue(int fd, Client& client);
  void Deliver();
  void Schedule();

  JsCallback on_events_;
  UniqueFd epoll_;
  std::unordered_map<int, Client> clients_;
  std::set<Due> due_;
  std::vector<ParkingRecord> records_;
  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
  epoll_event events_[kMaxEvents] = {};
  uv_poll_t poll_ = {};
  uv_timer_t timer_ = {};
  uint64_t timer_at_ms_ = kNever;
  int open_handles_ = 0;
  bool closed_ = false;
};

}  // namespace fdpass

#endif  // FDPASS_PARKING_LOT_H_
