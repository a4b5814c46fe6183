// See fd_poller.h.
#include "fd_poller.h"

#include <fcntl.h>

namespace fdpass {

SysResult FdPoller::Open(int fd) {
  if (fd < 0) return SysResult::Error(EBADF, "epoll_ctl");
  handle_.data = this;
  fd_ = fd;
  int error = uv_poll_init(environment().loop(), &handle_, fd_);
  if (error == UV_EEXIST) {
    duplicate_.Reset(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!duplicate_.Valid()) return SysResult::Errno("fcntl");
    fd_ = duplicate_.Get();
    error = uv_poll_init(environment().loop(), &handle_, fd_);
  }
  return error == 0 ? SysResult::Ok() : SysResult::Error(-error, "epoll_ctl");
}

SysResult FdPoller::Start(int events) {
  if (closed_) return SysResult::Error(EBADF, "epoll_ctl");
  wanted_ = events;
  const int error = uv_poll_start(&handle_, events, OnReady);
  return error == 0 ? SysResult::Ok() : SysResult::Error(-error, "epoll_ctl");
}

void FdPoller::Stop() {
  if (closed_) return;
  wanted_ = 0;
  uv_poll_stop(&handle_);
}

void FdPoller::Ref(bool on) {
  if (closed_) return;
  if (on) {
    uv_ref(reinterpret_cast<uv_handle_t*>(&handle_));
  } else {
    uv_unref(reinterpret_cast<uv_handle_t*>(&handle_));
  }
}

void FdPoller::OnReady(uv_poll_t* handle, int status, int events) {
  auto* self = static_cast<FdPoller*>(handle->data);
  int error = status < 0 ? -status : 0;
  if (error != 0) {
    // libuv calls every EPOLLERR "EBADF" and stops. On a descriptor that is open it is the socket's own error (a reset, say):
    // report what was asked for and poll on, so that the caller's next operation learns which error it is.
    const bool open = fcntl(self->fd_, F_GETFD) >= 0;
    if (open && uv_poll_start(handle, self->wanted_, OnReady) == 0) {
      error = 0;
      events = self->wanted_;
    } else {
      events = 0;
    }
  }
  const napi_env env = self->environment().env();
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value arguments[2];
  if (napi_create_int32(env, events, &arguments[0]) == napi_ok &&
      napi_create_int32(env, error, &arguments[1]) == napi_ok) {
    self->callback_.Call(2, arguments);
  }
  napi_close_handle_scope(env, scope);
}

void FdPoller::Close() {
  if (closed_) return;
  closed_ = true;
  // uv_close takes the descriptor out of the loop's epoll at once: the caller may close it when this returns.
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_), [](uv_handle_t* handle) {
    auto* self = static_cast<FdPoller*>(handle->data);
    self->callback_.Reset();
    self->Released();
  });
  duplicate_.Reset();
}

}  // namespace fdpass
