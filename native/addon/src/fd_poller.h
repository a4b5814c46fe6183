// Readiness of one borrowed descriptor on the environment's loop (uv_poll).
#ifndef FDPASS_FD_POLLER_H_
#define FDPASS_FD_POLLER_H_

#include <node_api.h>
#include <uv.h>

#include "environment.h"
#include "js_callback.h"
#include "system_error.h"
#include "unique_fd.h"

namespace fdpass {

class FdPoller final : public LoopResource {
 public:
  explicit FdPoller(Environment& environment) : LoopResource(environment) {}

  // Opens the handle; the wrapper is bound by then. Borrows `fd`, and makes it nonblocking. If this loop polls `fd` already, a
  // duplicate is polled, and closed with the poller.
  SysResult Open(int fd);
  JsCallback& callback() { return callback_; }

  // `events`: UV_READABLE, UV_WRITABLE, UV_DISCONNECT.
  SysResult Start(int events);
  void Stop();
  void Ref(bool on);
  void Close() override;

 private:
  static void OnReady(uv_poll_t* handle, int status, int events);

  JsCallback callback_;
  UniqueFd duplicate_;
  uv_poll_t handle_ = {};
  int fd_ = -1;
  int wanted_ = 0;
  bool closed_ = false;
};

}  // namespace fdpass

#endif  // FDPASS_FD_POLLER_H_
