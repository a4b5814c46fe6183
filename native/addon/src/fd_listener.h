// Accepts on a listening UNIX socket and receives bytes and descriptors: one batch for JavaScript per wake-up of the loop.
// Decides when to accept and how much; what the bytes mean and which connection to close or to keep is JavaScript's.
//
// The listening socket and the pending connections are members of a private epoll, and only that epoll is a handle of the
// loop: a handover costs the loop nothing of its own. Everything is level-triggered.
#ifndef FDPASS_FD_LISTENER_H_
#define FDPASS_FD_LISTENER_H_

#include <node_api.h>
#include <sys/epoll.h>
#include <uv.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "batch.h"
#include "descriptor_room.h"
#include "environment.h"
#include "js_callback.h"
#include "pending_connections.h"
#include "system_error.h"
#include "unique_fd.h"

namespace fdpass {

struct ListenerOptions {
  int32_t max_batch = 0;
  int32_t message_timeout_ms = 0;
  int32_t max_pending = 0;
  int32_t min_free = 0;
};

struct ListenerStats {
  int64_t accepted = 0;
  int64_t pending = 0;
  int64_t channels = 0;
  int64_t descriptor_pauses = 0;
  int64_t pending_pauses = 0;
};

class FdListener final : public LoopResource {
 public:
  FdListener(Environment& environment, const ListenerOptions& options);

  // Opens the handles on the loop; the wrapper is bound by then. Takes `listening` only if it succeeds.
  SysResult Open(int listening);
  JsCallback& on_batch() { return on_batch_; }

  void Start();
  void Pause();
  // Takes `on_drained`, which is called from the loop, never from here. False if the listener is closed.
  bool Drain(std::unique_ptr<JsCallback> on_drained);
  // `reply` < 0: none. The answer is 0 or a positive errno.
  int CloseConnection(int32_t id, int reply);
  // The answer is the descriptor, registered, or a negative errno.
  int DetachConnection(int32_t id, int reply);
  // 0, or EBADF for an unknown connection.
  int KeepConnection(int32_t id);
  int ExpectMessage(int32_t id);
  int EndReceiving(int32_t id);
  // 0 or a positive errno; nothing of the bytes was sent then.
  int Answer(int32_t id, const uint8_t* bytes, size_t length);
  ListenerStats Stats() const;
  void Ref(bool on);
  void Close() override;

 private:
  // The epoll data of the listening socket; connections have their id, which is never 0.
  static constexpr uint64_t kListeningKey = 0;

  // How soon to look again after there was no room for descriptors.
  static constexpr uint64_t kRetryMs = 20;

  // Past its deadline: enough for a message of the largest size that came in time.
  static constexpr int kLateLooks = 8;

  // Why the listening socket is not a member of the epoll; several may hold at once.
  enum Reason : unsigned { kStopped = 1, kPending = 2, kDescriptors = 4 };

  static void OnReadable(uv_poll_t* handle, int status, int events);
  static void OnTimer(uv_timer_t* handle);
  static void OnHandleClosed(uv_handle_t* handle);

  void Accept();
  // True if it brought bytes: there may be more.
  bool Receive(Connection& connection);
  void ReceiveMore();
  void Report(const Connection& connection, int32_t flags, int error);
  void ExpireDue();
  void RetryDescriptors();
  void Deliver();
  void FinishDrain();

  void Arm(Connection& connection);
  void Disarm(Connection& connection);
  void SetReason(Reason reason, bool on);
  void StopReading();
  void Schedule();
  int Reply(const Connection& connection, int reply) const;
  uint64_t MessageDeadline() const;
  UniqueFd Remove(Connection& connection);
  bool MayAccept() const;

  const ListenerOptions options_;
  ListenerStats stats_;
  JsCallback on_batch_;
  std::vector<std::unique_ptr<JsCallback>> on_drained_;
  DescriptorRoom room_;
  Batch batch_;
  PendingConnections connections_;
  std::vector<epoll_event> events_;
  std::vector<Connection*> more_;  // channels that may have brought more; within one wake-up only
  UniqueFd epoll_;
  UniqueFd listening_;
  uv_poll_t poll_ = {};
  uv_timer_t timer_ = {};
  uint64_t timer_at_ms_ = 0;
  uint64_t retry_at_ms_ = 0;  // 0: no retry is due
  unsigned reasons_ = kStopped;
  int open_handles_ = 0;
  bool listening_armed_ = false;
  bool reading_ = true;
  bool draining_ = false;
  bool drained_ = false;
  bool closed_ = false;
};

}  // namespace fdpass

#endif  // FDPASS_FD_LISTENER_H_
