// The loop's side of a listener: what one wake-up or one timer does, up to the one call into JavaScript.
#include "fd_listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "ancillary.h"
#include "socket_facts.h"

namespace fdpass {

void FdListener::OnReadable(uv_poll_t* handle, int status, int) {
  auto* self = static_cast<FdListener*>(handle->data);
  self->batch_.Clear();
  self->room_.Measure();
  if (status != 0) {
    // libuv stops a handle that failed.
    self->StopReading();
  }
  const int count = epoll_wait(self->epoll_.Get(), self->events_.data(), self->options_.max_batch, 0);
  bool acceptable = false;
  for (int i = 0; i < count; i++) {
    const uint64_t key = self->events_[static_cast<size_t>(i)].data.u64;
    if (key == kListeningKey) {
      acceptable = true;
    } else if (Connection* connection = self->connections_.Find(static_cast<int32_t>(key))) {
      if (self->Receive(*connection) && connection->channel) self->more_.push_back(connection);
    }
  }
  // Each connection had its turn: busy channels keep nobody from being accepted.
  if (acceptable) self->Accept();
  self->ReceiveMore();
  self->Deliver();
}

void FdListener::OnTimer(uv_timer_t* handle) {
  auto* self = static_cast<FdListener*>(handle->data);
  self->batch_.Clear();
  self->room_.Measure();
  self->timer_at_ms_ = 0;
  self->RetryDescriptors();
  self->ExpireDue();
  // The end of the accept queue is not an event: a drain has to look for it.
  if (self->draining_) self->Accept();
  self->Deliver();
}

bool FdListener::MayAccept() const {
  if (closed_ || !listening_.Valid()) return false;
  const unsigned stopped = draining_ ? 0U : kStopped;
  return (reasons_ & (stopped | kPending | kDescriptors)) == 0;
}

void FdListener::Accept() {
  for (int tries = 0; tries < options_.max_batch && batch_.size() < events_.size() && MayAccept(); tries++) {
    if (!room_.ForConnection()) {
      SetReason(kDescriptors, true);
      return;
    }
    UniqueFd fd(accept4(listening_.Get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.Valid()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno == EAGAIN) {
        if (draining_) FinishDrain();
      } else {
        // EMFILE, ENFILE, ENOMEM: the connection stays in the backlog. Anything else is no reason to spin either.
        SetReason(kDescriptors, true);
      }
      return;
    }
    const int number = fd.Get();
    room_.Took(number);
    stats_.accepted++;
    Connection& connection = connections_.Add(std::move(fd), ReadPeer(number), MessageDeadline());
    // The message is often there already; if not, the connection waits for its own readiness.
    Receive(connection);
    if (connections_.pending() >= static_cast<size_t>(options_.max_pending)) SetReason(kPending, true);
    if (room_.IsTight(number)) SetReason(kDescriptors, true);
  }
}

bool FdListener::Receive(Connection& connection) {
  if (!room_.ForMessage()) {
    Arm(connection);
    StopReading();
    return false;
  }
  Received received = ReceiveMessage(connection.fd.Get(), batch_.Room(), Batch::kReadBytes);
  if (received.error == EAGAIN) {
    Arm(connection);
    return false;
  }
  Record record;
  record.connection = connection.id;
  record.length = static_cast<int32_t>(std::max<ssize_t>(received.bytes, 0));
  record.error = received.error;
  record.fd_count = received.fd_count;
  if (received.bytes == 0) record.flags |= kRecordEof;
  if (received.error != 0) record.flags |= kRecordError;
  if (received.control_truncated) record.flags |= kRecordControlTruncated;
  if (received.too_many_fds) record.flags |= kRecordTooManyFds;
  if (received.fd_count > 0) record.fd_0_facts = SocketFactsOrNone(received.fds[0].Get());
  for (int i = 0; i < received.fd_count; i++) {
    room_.Took(received.fds[i].Get());
    record.fds[i] = environment().registry().Add(std::move(received.fds[i]));
  }
  record.pid = connection.peer.pid;
  record.uid = static_cast<int32_t>(connection.peer.uid);
  record.gid = static_cast<int32_t>(connection.peer.gid);
  batch_.Add(record);
  if (received.bytes > 0) return true;
  connection.ended = true;
  Disarm(connection);
  return false;
}

// One part of each in turn. No recvmsg goes past a descriptor, so each message of a channel is a part of its own.
void FdListener::ReceiveMore() {
  while (!more_.empty()) {
    size_t left = 0;
    for (Connection* connection : more_) {
      if (batch_.size() < events_.size() && Receive(*connection)) more_[left++] = connection;
    }
    more_.resize(left);
  }
}

void FdListener::Report(const Connection& connection, int32_t flags, int error) {
  Record record;
  record.connection = connection.id;
  record.flags = flags;
  record.error = error;
  record.pid = connection.peer.pid;
  record.uid = static_cast<int32_t>(connection.peer.uid);
  record.gid = static_cast<int32_t>(connection.peer.gid);
  batch_.Add(record);
}

void FdListener::ExpireDue() {
  const uint64_t now = uv_now(environment().loop());
  Connection* connection = connections_.FirstWaiting();
  while (connection != nullptr && connection->deadline_ms <= now && batch_.size() < events_.size()) {
    Connection* next = connections_.NextWaiting(*connection);
    const size_t before = batch_.size();
    // A loop that was busy past the deadline has not looked at what came in time: look before giving up. Not for ever: a sender may
    // bring a byte each time.
    const bool may_look = connection->error == 0 && !connection->ended && connection->late_looks < kLateLooks;
    if (may_look && room_.ForMessage()) {
      connection->late_looks++;
      Receive(*connection);
    }
    if (batch_.size() == before) {
      Disarm(*connection);
      connections_.SetExpired(*connection);
      Report(*connection, connection->error == 0 ? kRecordTimeout : kRecordError, connection->error);
    }
    connection = next;
  }
}

void FdListener::RetryDescriptors() {
  if (retry_at_ms_ == 0 || uv_now(environment().loop()) < retry_at_ms_) return;
  retry_at_ms_ = 0;
  if (!reading_ && room_.ForMessage()) {
    reading_ = uv_poll_start(&poll_, UV_READABLE, OnReadable) == 0;
  }
  if ((reasons_ & kDescriptors) != 0 && room_.HasHeadroom()) SetReason(kDescriptors, false);
  if (!reading_ || (reasons_ & kDescriptors) != 0) retry_at_ms_ = uv_now(environment().loop()) + kRetryMs;
}

void FdListener::Deliver() {
  const napi_env env = environment().env();
  napi_handle_scope scope;
  if (batch_.size() != 0 && napi_open_handle_scope(env, &scope) == napi_ok) {
    napi_value arguments[2];
    if (batch_.ToJs(env, &arguments[0], &arguments[1])) on_batch_.Call(2, arguments);
    napi_close_handle_scope(env, scope);
  }
  // JavaScript may have closed connections, or the listener: from here on everything is looked up again. What it left open
  // joins the epoll only now: a connection whose message came whole never does.
  for (const Record& record : batch_.records()) {
    if (closed_) return;
    Connection* connection = connections_.Find(record.connection);
    if (connection == nullptr || connection->ended) continue;
    if (connection->place != Connection::Place::kExpired) Arm(*connection);
  }
  if (drained_ && !closed_ && napi_open_handle_scope(env, &scope) == napi_ok) {
    const auto callbacks = std::exchange(on_drained_, {});
    for (const auto& callback : callbacks) callback->Call(0, nullptr);
    napi_close_handle_scope(env, scope);
  }
  Schedule();
}

void FdListener::FinishDrain() {
  draining_ = false;
  drained_ = true;
  SetReason(kStopped, true);
  listening_.Reset();
}

}  // namespace fdpass
