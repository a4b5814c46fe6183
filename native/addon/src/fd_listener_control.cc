// JavaScript's side of a listener: its life, what may be asked of a connection, and why it is not accepting at the moment.
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "fd_listener.h"
#include "socket_bytes.h"
#include "socket_facts.h"

namespace fdpass {

FdListener::FdListener(Environment& environment, const ListenerOptions& options)
    : LoopResource(environment), options_(options), room_(options.min_free) {
  events_.resize(static_cast<size_t>(options.max_batch));
}

SysResult FdListener::Open(int listening) {
  const SysResult checked = CheckUnixListener(listening);
  if (checked.Failed()) return checked;
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.Valid()) return SysResult::Errno("epoll_create1");
  room_.SetProbe(epoll_.Get());
  // Another process may share this socket and take the connection that woke us: accept4 must not block then.
  const int flags = fcntl(listening, F_GETFL);
  if (flags < 0 || fcntl(listening, F_SETFL, flags | O_NONBLOCK) < 0) return SysResult::Errno("fcntl");

  uv_loop_t* loop = environment().loop();
  poll_.data = this;
  timer_.data = this;
  const int error = uv_poll_init(loop, &poll_, epoll_.Get());
  if (error != 0) return SysResult::Error(-error, "epoll_ctl");
  uv_timer_init(loop, &timer_);
  open_handles_ = 2;
  uv_poll_start(&poll_, UV_READABLE, OnReadable);
  environment().registry().Take(listening);
  listening_.Reset(listening);
  return SysResult::Ok();
}

void FdListener::Start() {
  if (!drained_) SetReason(kStopped, false);
}

void FdListener::Pause() { SetReason(kStopped, true); }

bool FdListener::Drain(std::unique_ptr<JsCallback> on_drained) {
  if (closed_) return false;
  on_drained_.push_back(std::move(on_drained));
  if (!drained_) draining_ = true;
  SetReason(kStopped, (reasons_ & kStopped) != 0);
  Schedule();
  return true;
}

int FdListener::Reply(const Connection& connection, int reply) const {
  if (reply < 0) return 0;
  const auto byte = static_cast<uint8_t>(reply);
  return Write(connection.fd.Get(), &byte, 1).error;
}

uint64_t FdListener::MessageDeadline() const {
  return uv_now(environment().loop()) + static_cast<uint64_t>(options_.message_timeout_ms);
}

UniqueFd FdListener::Remove(Connection& connection) {
  Disarm(connection);
  UniqueFd fd = connections_.Remove(connection);
  if (connections_.pending() < static_cast<size_t>(options_.max_pending)) SetReason(kPending, false);
  if (draining_) Schedule();
  return fd;
}

int FdListener::CloseConnection(int32_t id, int reply) {
  Connection* connection = connections_.Find(id);
  if (connection == nullptr) return EBADF;
  const int error = Reply(*connection, reply);
  Remove(*connection).Reset();
  return error;
}

int FdListener::DetachConnection(int32_t id, int reply) {
  Connection* connection = connections_.Find(id);
  if (connection == nullptr) return -EBADF;
  const int error = Reply(*connection, reply);
  UniqueFd fd = Remove(*connection);
  if (error != 0) return -error;
  return environment().registry().Add(std::move(fd));
}

int FdListener::KeepConnection(int32_t id) {
  Connection* connection = connections_.Find(id);
  if (connection == nullptr) return EBADF;
  connections_.Keep(*connection);
  if (connections_.pending() < static_cast<size_t>(options_.max_pending)) SetReason(kPending, false);
  if (draining_) Schedule();
  return 0;
}

int FdListener::ExpectMessage(int32_t id) {
  Connection* connection = connections_.Find(id);
  if (connection == nullptr) return EBADF;
  connections_.Expect(*connection, MessageDeadline());
  Schedule();
  return 0;
}

// After SHUT_RD the queue can still be read, then comes the end; the other side can send nothing more (EPIPE), and still read.
int FdListener::EndReceiving(int32_t id) {
  Connection* connection = connections_.Find(id);
  if (connection == nullptr) return EBADF;
  return Shutdown(connection->fd.Get(), SHUT_RD).error;
}

// So few bytes go into one buffer of the kernel's, or not at all.
int FdListener::Answer(int32_t id, const uint8_t* bytes, size_t length) {
  Connection* connection = connections_.Find(id);
  return connection == nullptr ? EBADF : Write(connection->fd.Get(), bytes, length).error;
}

ListenerStats FdListener::Stats() const {
  ListenerStats stats = stats_;
  stats.pending = static_cast<int64_t>(connections_.pending());
  stats.channels = static_cast<int64_t>(connections_.channels());
  return stats;
}

void FdListener::Arm(Connection& connection) {
  if (connection.armed) return;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint64_t>(connection.id);
  if (epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, connection.fd.Get(), &event) != 0) {
    connections_.SetFailed(connection, errno);
    return;
  }
  connection.armed = true;
}

void FdListener::Disarm(Connection& connection) {
  if (!connection.armed) return;
  connection.armed = false;
  epoll_ctl(epoll_.Get(), EPOLL_CTL_DEL, connection.fd.Get(), nullptr);
}

void FdListener::SetReason(Reason reason, bool on) {
  if (closed_) return;
  if (on && (reasons_ & reason) == 0) {
    if (reason == kPending) stats_.pending_pauses++;
    if (reason == kDescriptors) stats_.descriptor_pauses++;
  }
  reasons_ = on ? reasons_ | reason : reasons_ & ~static_cast<unsigned>(reason);
  if ((reasons_ & kDescriptors) != 0 && retry_at_ms_ == 0) {
    retry_at_ms_ = uv_now(environment().loop()) + kRetryMs;
  }
  const bool wanted = MayAccept();
  if (wanted == listening_armed_) return;
  // Taken out rather than left with no events: a hang-up cannot be masked.
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kListeningKey;
  const int operation = wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
  const int answer = epoll_ctl(epoll_.Get(), operation, listening_.Get(), &event);
  listening_armed_ = wanted && answer == 0;
  if (wanted && answer != 0) {
    reasons_ |= kDescriptors;
    retry_at_ms_ = uv_now(environment().loop()) + kRetryMs;
    Schedule();
  }
}

void FdListener::StopReading() {
  uv_poll_stop(&poll_);
  if (reading_) stats_.descriptor_pauses++;
  reading_ = false;
  if (retry_at_ms_ == 0) retry_at_ms_ = uv_now(environment().loop()) + kRetryMs;
}

void FdListener::Schedule() {
  if (closed_) return;
  const uint64_t now = uv_now(environment().loop());
  uint64_t at = UINT64_MAX;
  if (const Connection* first = connections_.FirstWaiting()) at = first->deadline_ms;
  if (retry_at_ms_ != 0) at = std::min(at, retry_at_ms_);
  if ((draining_ && MayAccept()) || (drained_ && !on_drained_.empty())) at = now;
  if (at == UINT64_MAX) return;
  // A timer that comes too early finds nothing due and is set again: cheaper than moving it with every connection.
  if (timer_at_ms_ != 0 && timer_at_ms_ <= at) return;
  timer_at_ms_ = std::max(at, now + 1);
  uv_timer_start(&timer_, OnTimer, timer_at_ms_ - now, 0);
}

void FdListener::Ref(bool on) {
  if (closed_) return;
  for (uv_handle_t* handle : {reinterpret_cast<uv_handle_t*>(&poll_), reinterpret_cast<uv_handle_t*>(&timer_)}) {
    if (on) {
      uv_ref(handle);
    } else {
      uv_unref(handle);
    }
  }
}

void FdListener::Close() {
  if (closed_) return;
  closed_ = true;
  listening_.Reset();
  connections_.Clear();
  on_drained_.clear();
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), OnHandleClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), OnHandleClosed);
}

void FdListener::OnHandleClosed(uv_handle_t* handle) {
  auto* self = static_cast<FdListener*>(handle->data);
  if (--self->open_handles_ != 0) return;
  self->epoll_.Reset();
  self->on_batch_.Reset();
  self->Released();
}

}  // namespace fdpass
