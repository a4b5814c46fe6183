// See environment.h.
#include "environment.h"

#include <vector>

namespace fdpass {

Environment* Environment::Create(napi_env env) {
  auto* environment = new Environment(env);
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Environment*>(data); };
  if (napi_get_uv_event_loop(env, &environment->loop_) != napi_ok ||
      napi_set_instance_data(env, environment, finalize, nullptr) != napi_ok) {
    delete environment;
    napi_throw_error(env, nullptr, "no event loop in this environment");
    return nullptr;
  }
  // While this hook is unfinished Node.js keeps the napi_env: instance data and wrappers outlive every handle.
  if (napi_add_async_cleanup_hook(env, OnTeardown, environment, &environment->teardown_) != napi_ok) {
    napi_throw_error(env, nullptr, "no cleanup hook in this environment");
    return nullptr;
  }
  return environment;
}

Environment& Environment::Of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

void Environment::OnTeardown(napi_async_cleanup_hook_handle, void* data) {
  auto* environment = static_cast<Environment*>(data);
  environment->ending_ = true;
  environment->registry_.CloseAll();
  const std::vector<LoopResource*> open(environment->resources_.begin(), environment->resources_.end());
  for (LoopResource* resource : open) resource->Close();
  environment->FinishTeardown();
}

void Environment::FinishTeardown() {
  if (!ending_ || !resources_.empty() || teardown_ == nullptr) return;
  const napi_async_cleanup_hook_handle hook = teardown_;
  teardown_ = nullptr;
  napi_remove_async_cleanup_hook(hook);
}

bool LoopResource::Wrap(napi_value wrapper, const napi_type_tag* tag) {
  const napi_env env = environment_.env();
  // The tag comes first: it fails on an object that was constructed already, before anything is attached.
  if (napi_type_tag_object(env, wrapper, tag) != napi_ok ||
      napi_wrap(env, wrapper, this, Finalize, nullptr, nullptr) != napi_ok) {
    napi_throw_type_error(env, nullptr, "Illegal invocation");
    return false;
  }
  if (napi_create_reference(env, wrapper, 1, &wrapper_) != napi_ok) {
    napi_remove_wrap(env, wrapper, nullptr);
    napi_throw_error(env, nullptr, "no reference to the new object");
    return false;
  }
  environment_.resources_.insert(this);
  return true;
}

void LoopResource::Unwrap(napi_value wrapper) {
  environment_.resources_.erase(this);
  napi_delete_reference(environment_.env(), wrapper_);
  wrapper_ = nullptr;
  napi_remove_wrap(environment_.env(), wrapper, nullptr);
}

void LoopResource::Released() {
  Environment& environment = environment_;
  environment.resources_.erase(this);
  if (wrapper_ != nullptr) napi_delete_reference(environment.env(), wrapper_);
  wrapper_ = nullptr;
  environment.FinishTeardown();
}

void LoopResource::Finalize(napi_env, void* data, void*) { delete static_cast<LoopResource*>(data); }

void* UnwrapSelf(napi_env env, napi_value self, const napi_type_tag* tag) {
  bool ours = false;
  void* data = nullptr;
  if (napi_check_object_type_tag(env, self, tag, &ours) == napi_ok && ours &&
      napi_unwrap(env, self, &data) == napi_ok && data != nullptr) {
    return data;
  }
  // The check fails with an exception pending when `self` is no object at all: throwing again then changes nothing.
  napi_throw_type_error(env, nullptr, "Illegal invocation");
  return nullptr;
}

}  // namespace fdpass
