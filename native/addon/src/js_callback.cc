// Calls from the event loop into JavaScript.
#include "js_callback.h"

namespace fdpass {

bool JsCallback::Set(napi_env env, napi_value function, napi_value resource, const char* resource_name) {
  napi_value name;
  env_ = env;
  if (napi_create_string_utf8(env, resource_name, NAPI_AUTO_LENGTH, &name) != napi_ok) return false;
  if (napi_create_reference(env, function, 1, &function_) != napi_ok) return false;
  return napi_async_init(env, resource, name, &context_) == napi_ok;
}

void JsCallback::Call(size_t count, const napi_value* values) {
  if (function_ == nullptr) return;
  const napi_env env = env_;
  napi_value function, receiver, ignored;
  if (napi_get_reference_value(env, function_, &function) != napi_ok || function == nullptr) return;
  // make_callback wants an object as receiver.
  if (napi_get_global(env, &receiver) != napi_ok) return;
  const napi_status status = napi_make_callback(env, context_, receiver, function, count, values, &ignored);
  // Any other failure means that JavaScript does not run any more (a worker being terminated): nobody is left to tell.
  if (status != napi_pending_exception) return;
  napi_value exception;
  if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
}

void JsCallback::Reset() {
  if (function_ != nullptr) napi_delete_reference(env_, function_);
  if (context_ != nullptr) napi_async_destroy(env_, context_);
  function_ = nullptr;
  context_ = nullptr;
}

}  // namespace fdpass
