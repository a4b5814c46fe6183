// What the addon keeps per environment (the main thread or a worker): the registry of descriptors, the loop, and everything that
// has handles on that loop. At the end of the environment it closes all of it before the addon may be unloaded.
#ifndef FDPASS_ENVIRONMENT_H_
#define FDPASS_ENVIRONMENT_H_

#include <node_api.h>
#include <uv.h>

#include <unordered_set>

#include "fd_registry.h"

namespace fdpass {

class Environment;

// A native object with handles on the environment's loop and a JavaScript wrapper. The wrapper is held strongly until the
// last handle is closed; after that the garbage collector's finalizer deletes the object.
class LoopResource {
 public:
  LoopResource(const LoopResource&) = delete;
  LoopResource& operator=(const LoopResource&) = delete;

  // Begins to close the handles; idempotent. `Released` must be called when the last one is closed.
  virtual void Close() = 0;

  // Binds this object to `wrapper`, which owns it from then on. False with an exception pending.
  bool Wrap(napi_value wrapper, const napi_type_tag* tag);

  // Undoes Wrap in a constructor that fails afterwards; the caller deletes the object.
  void Unwrap(napi_value wrapper);

  Environment& environment() const { return environment_; }

 protected:
  explicit LoopResource(Environment& environment) : environment_(environment) {}
  virtual ~LoopResource() = default;

  // The last handle is closed: lets go of the wrapper.
  void Released();

 private:
  static void Finalize(napi_env env, void* data, void* hint);

  Environment& environment_;
  napi_ref wrapper_ = nullptr;
};

class Environment {
 public:
  // Makes the instance data of `env`; nullptr with an exception pending.
  static Environment* Create(napi_env env);
  static Environment& Of(napi_env env);

  napi_env env() const { return env_; }
  uv_loop_t* loop() const { return loop_; }
  FdRegistry& registry() { return registry_; }

 private:
  friend class LoopResource;

  explicit Environment(napi_env env) : env_(env) {}
  static void OnTeardown(napi_async_cleanup_hook_handle handle, void* data);
  void FinishTeardown();

  napi_env env_;
  uv_loop_t* loop_ = nullptr;
  FdRegistry registry_;
  std::unordered_set<LoopResource*> resources_;
  napi_async_cleanup_hook_handle teardown_ = nullptr;
  bool ending_ = false;
};

// The object behind `self` if it is one of ours and carries `tag`; else nullptr with a TypeError pending.
void* UnwrapSelf(napi_env env, napi_value self, const napi_type_tag* tag);

}  // namespace fdpass

#endif  // FDPASS_ENVIRONMENT_H_
