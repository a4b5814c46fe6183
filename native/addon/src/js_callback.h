// One JavaScript function that native code calls from the event loop, with the async context it runs in.
#ifndef FDPASS_JS_CALLBACK_H_
#define FDPASS_JS_CALLBACK_H_

#include <node_api.h>

#include <cstddef>

namespace fdpass {

class JsCallback {
 public:
  JsCallback() = default;
  JsCallback(const JsCallback&) = delete;
  JsCallback& operator=(const JsCallback&) = delete;
  ~JsCallback() { Reset(); }

  // `resource` is what async_hooks sees. False with an exception pending, or if JavaScript cannot run any more.
  bool Set(napi_env env, napi_value function, napi_value resource, const char* resource_name);

  // Calls it as the event loop does: ticks and microtasks run afterwards, what it throws becomes an uncaughtException.
  // Needs an open handle scope. The owner may have reset this callback when it returns.
  void Call(size_t count, const napi_value* values);

  void Reset();

 private:
  napi_env env_ = nullptr;
  napi_ref function_ = nullptr;
  napi_async_context context_ = nullptr;
};

}  // namespace fdpass

#endif  // FDPASS_JS_CALLBACK_H_
