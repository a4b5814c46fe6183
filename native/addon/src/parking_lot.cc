// See parking_lot.h.
#include "parking_lot.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace fdpass {

SysResult ParkingLot::Open() {
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.Valid()) return SysResult::Errno("epoll_create1");
  bytes_.resize(kReadBytes);
  uv_loop_t* loop = environment().loop();
  poll_.data = this;
  timer_.data = this;
  const int error = uv_poll_init(loop, &poll_, epoll_.Get());
  if (error != 0) return SysResult::Error(-error, "epoll_ctl");
  uv_timer_init(loop, &timer_);
  open_handles_ = 2;
  uv_poll_start(&poll_, UV_READABLE, OnReadable);
  // An empty lot keeps no process alive, and its timer never does.
  uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&timer_));
  return SysResult::Ok();
}

SysResult ParkingLot::Park(int fd, uint32_t timeout_ms) {
  if (closed_) return SysResult::Error(EBADF, "epoll_ctl");
  auto found = clients_.find(fd);
  if (found == clients_.end()) {
    epoll_event event = {};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.Get(), EPOLL_CTL_ADD, fd, &event) != 0) return SysResult::Errno("epoll_ctl");
    if (clients_.empty()) uv_ref(reinterpret_cast<uv_handle_t*>(&poll_));
    found = clients_.emplace(fd, Client()).first;
  }
  Client& client = found->second;
  // What JavaScript did in this turn of the loop may have taken longer than the client is given.
  uv_update_time(environment().loop());
  client.deadline_ms = timeout_ms == 0 ? kNever : uv_now(environment().loop()) + timeout_ms;
  SetDue(fd, client);
  Schedule();
  return SysResult::Ok();
}

void ParkingLot::SetDue(int fd, Client& client) {
  if (client.deadline_ms == kNever) return;
  if (client.due_ms != kNever && client.due_ms <= client.deadline_ms) return;
  if (client.due_ms != kNever) due_.erase(Due(client.due_ms, fd));
  client.due_ms = client.deadline_ms;
  due_.emplace(client.due_ms, fd);
}

bool ParkingLot::Unpark(int fd) {
  const auto found = clients_.find(fd);
  if (found == clients_.end()) return false;
  epoll_ctl(epoll_.Get(), EPOLL_CTL_DEL, fd, nullptr);
  if (found->second.due_ms != kNever) due_.erase(Due(found->second.due_ms, fd));
  clients_.erase(found);
  if (clients_.empty()) uv_unref(reinterpret_cast<uv_handle_t*>(&poll_));
  return true;
}

void ParkingLot::Leave(int fd, ParkingEvent event) {
  if (Unpark(fd)) records_.push_back({fd, event, 0, 0});
}

void ParkingLot::Read(int fd) {
  const auto found = clients_.find(fd);
  if (found == clients_.end()) return;
  if (bytes_.size() < used_ + kReadBytes) bytes_.resize(std::max(bytes_.size() * 2, used_ + kReadBytes));
  const ssize_t count = recv(fd, bytes_.data() + used_, kReadBytes, MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return Leave(fd, kParkingEnded);
  found->second.deadline_ms = kNever;
  records_.push_back({fd, kParkingRead, static_cast<int32_t>(used_), static_cast<int32_t>(count)});
  used_ += static_cast<size_t>(count);
}

void ParkingLot::OnReadable(uv_poll_t* handle, int, int) {
  auto* self = static_cast<ParkingLot*>(handle->data);
  const int count = epoll_wait(self->epoll_.Get(), self->events_, kMaxEvents, 0);
  for (int i = 0; i < count; i++) self->Read(self->events_[i].data.fd);
  self->Deliver();
}

void ParkingLot::OnTimer(uv_timer_t* handle) {
  auto* self = static_cast<ParkingLot*>(handle->data);
  self->timer_at_ms_ = kNever;
  const uint64_t now = uv_now(self->environment().loop());
  for (int left = kMaxEvents; left > 0 && !self->due_.empty() && self->due_.begin()->first <= now; left--) {
    const int fd = self->due_.begin()->second;
    Client& client = self->clients_[fd];
    self->due_.erase(self->due_.begin());
    client.due_ms = kNever;
    if (client.deadline_ms != kNever && client.deadline_ms <= now) {
      // A loop that was busy past the deadline has not looked at what came in time: look before giving up.
      const size_t before = self->records_.size();
      self->Read(fd);
      if (self->records_.size() == before) self->Leave(fd, kParkingExpired);
    } else {
      self->SetDue(fd, client);
    }
  }
  self->Deliver();
}

void ParkingLot::Deliver() {
  const napi_env env = environment().env();
  napi_handle_scope scope;
  if (!records_.empty() && napi_open_handle_scope(env, &scope) == napi_ok) {
    const size_t size = records_.size() * sizeof(ParkingRecord);
    void* target = nullptr;
    napi_value memory, arguments[2];
    if (napi_create_buffer_copy(env, used_, bytes_.data(), nullptr, &arguments[0]) == napi_ok &&
        napi_create_arraybuffer(env, size, &target, &memory) == napi_ok &&
        napi_create_typedarray(env, napi_int32_array, size / sizeof(int32_t), memory, 0, &arguments[1]) == napi_ok) {
      std::memcpy(target, records_.data(), size);
      records_.clear();
      used_ = 0;
      on_events_.Call(2, arguments);
    }
    napi_close_handle_scope(env, scope);
  }
  Schedule();
}

void ParkingLot::Schedule() {
  if (closed_ || due_.empty()) return;
  const uint64_t at = due_.begin()->first;
  // A timer that comes too early finds nothing due and is set again: cheaper than moving it with every client.
  if (timer_at_ms_ != kNever && timer_at_ms_ <= at) return;
  const uint64_t now = uv_now(environment().loop());
  timer_at_ms_ = std::max(at, now + 1);
  uv_timer_start(&timer_, OnTimer, timer_at_ms_ - now, 0);
}

void ParkingLot::Close() {
  if (closed_) return;
  closed_ = true;
  clients_.clear();
  due_.clear();
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_), OnHandleClosed);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), OnHandleClosed);
}

void ParkingLot::OnHandleClosed(uv_handle_t* handle) {
  auto* self = static_cast<ParkingLot*>(handle->data);
  if (--self->open_handles_ != 0) return;
  self->epoll_.Reset();
  self->on_events_.Reset();
  self->Released();
}

}  // namespace fdpass
