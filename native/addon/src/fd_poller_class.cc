// The JavaScript class FdPoller: argument checks around fd_poller.h.
#include <uv.h>

#include <memory>

#include "addon_exports.h"
#include "arguments.h"
#include "environment.h"
#include "fd_poller.h"
#include "system_error.h"

namespace fdpass {
namespace {

constexpr napi_type_tag kTag = {0x6664706173732d70ULL, 0x6f6c6c6572203031ULL};
constexpr int kAllEvents = UV_READABLE | UV_WRITABLE | UV_DISCONNECT;

FdPoller* Self(napi_env env, const Arguments& args) {
  return static_cast<FdPoller*>(UnwrapSelf(env, args.self(), &kTag));
}

napi_value Construct(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  napi_value callback;
  if (!args.Constructing("FdPoller") || !args.Fd(0, &fd) || !args.Function(1, "callback", &callback)) return nullptr;
  auto poller = std::make_unique<FdPoller>(Environment::Of(env));
  if (!poller->Wrap(args.self(), &kTag)) return nullptr;
  if (!poller->callback().Set(env, callback, args.self(), "FDPASSPOLLER")) {
    poller->Unwrap(args.self());
    return nullptr;
  }
  const SysResult opened = poller->Open(fd);
  if (opened.Failed()) {
    poller->Unwrap(args.self());
    return NothingOrThrow(env, opened);
  }
  poller.release();  // the wrapper owns it
  return args.self();
}

napi_value Start(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  FdPoller* poller = Self(env, args);
  int events;
  if (poller == nullptr || !args.Int32Between(0, "events", 1, kAllEvents, &events)) return nullptr;
  return NothingOrThrow(env, poller->Start(events));
}

// A method without arguments or answer.
template <void (FdPoller::*Action)()>
napi_value Plain(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  if (FdPoller* poller = Self(env, args)) (poller->*Action)();
  return nullptr;
}

template <bool On>
napi_value SetRef(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  if (FdPoller* poller = Self(env, args)) poller->Ref(On);
  return nullptr;
}

}  // namespace

bool ExportFdPoller(napi_env env, napi_value exports) {
  return ExportClass(env, exports, "FdPoller", Construct,
                     {{"start", Start},
                      {"stop", Plain<&FdPoller::Stop>},
                      {"ref", SetRef<true>},
                      {"unref", SetRef<false>},
                      {"close", Plain<&FdPoller::Close>}});
}

}  // namespace fdpass
