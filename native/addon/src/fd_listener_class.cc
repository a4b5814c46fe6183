// The JavaScript class FdListener: argument checks around fd_listener.h.
#include <algorithm>
#include <memory>

#include "addon_exports.h"
#include "arguments.h"
#include "environment.h"
#include "fd_listener.h"
#include "system_error.h"

namespace fdpass {
namespace {

constexpr napi_type_tag kTag = {0x6664706173732d6cULL, 0x697374656e657231ULL};

// Most answers in one send.
constexpr size_t kMaxAnswers = 64;

FdListener* Self(napi_env env, const Arguments& args) {
  return static_cast<FdListener*>(UnwrapSelf(env, args.self(), &kTag));
}

napi_value Construct(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  ListenerOptions options;
  int fd;
  napi_value on_batch;
  if (!args.Constructing("FdListener") || !args.Fd(0, &fd) ||
      !args.Property(1, "maxBatch", 1, 4096, &options.max_batch) ||
      !args.Property(1, "messageTimeoutMs", 1, INT32_MAX, &options.message_timeout_ms) ||
      !args.Property(1, "maxPendingConnections", 1, INT32_MAX, &options.max_pending) ||
      !args.Property(1, "minFreeDescriptors", 0, INT32_MAX, &options.min_free) ||
      !args.Function(2, "onBatch", &on_batch)) {
    return nullptr;
  }
  auto listener = std::make_unique<FdListener>(Environment::Of(env), options);
  if (!listener->Wrap(args.self(), &kTag)) return nullptr;
  if (!listener->on_batch().Set(env, on_batch, args.self(), "FDPASSLISTENER")) {
    listener->Unwrap(args.self());
    return nullptr;
  }
  const SysResult opened = listener->Open(fd);
  if (opened.Failed()) {
    listener->Unwrap(args.self());
    return NothingOrThrow(env, opened);
  }
  listener.release();  // the wrapper owns it
  return args.self();
}

// A method without arguments or answer.
template <void (FdListener::*Action)()>
napi_value Plain(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  if (FdListener* listener = Self(env, args)) (listener->*Action)();
  return nullptr;
}

template <bool On>
napi_value SetRef(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  if (FdListener* listener = Self(env, args)) listener->Ref(On);
  return nullptr;
}

napi_value Drain(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  FdListener* listener = Self(env, args);
  napi_value on_drained;
  if (listener == nullptr || !args.Function(0, "onDrained", &on_drained)) return nullptr;
  auto callback = std::make_unique<JsCallback>();
  if (!callback->Set(env, on_drained, args.self(), "FDPASSLISTENER")) return nullptr;
  if (!listener->Drain(std::move(callback))) ThrowSystemError(env, EBADF, "accept4");
  return nullptr;
}

// closeConnection and detachConnection: an id, perhaps a reply, and an errno or descriptor as the answer.
template <int (FdListener::*Action)(int32_t, int)>
napi_value OnConnection(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  FdListener* listener = Self(env, args);
  int32_t id, reply = -1;
  if (listener == nullptr || !args.Int32(0, "connection", &id)) return nullptr;
  if (args.Has(1) && !args.Int32Between(1, "reply", 0, 255, &reply)) return nullptr;
  return ValueOrThrow(env, SysResult::Ok((listener->*Action)(id, reply)));
}

// keepConnection, expectMessage and endReceiving: an id, and an errno as the answer.
template <int (FdListener::*Action)(int32_t)>
napi_value OnChannel(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  FdListener* listener = Self(env, args);
  int32_t id;
  if (listener == nullptr || !args.Int32(0, "connection", &id)) return nullptr;
  return ValueOrThrow(env, SysResult::Ok((listener->*Action)(id)));
}

napi_value Answer(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  FdListener* listener = Self(env, args);
  int32_t id, count;
  Bytes answers;
  if (listener == nullptr || !args.Int32(0, "connection", &id) || !args.ByteArray(1, "answers", 1, &answers)) return nullptr;
  const auto most = static_cast<int32_t>(std::min<size_t>(answers.length, kMaxAnswers));
  if (!args.Int32Between(2, "count", 1, most, &count)) return nullptr;
  return ValueOrThrow(env, SysResult::Ok(listener->Answer(id, answers.data, static_cast<size_t>(count))));
}

napi_value Stats(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  FdListener* listener = Self(env, args);
  napi_value object;
  if (listener == nullptr || napi_create_object(env, &object) != napi_ok) return nullptr;
  const ListenerStats stats = listener->Stats();
  const struct {
    const char* name;
    int64_t value;
  } counters[] = {{"accepted", stats.accepted},
                  {"pending", stats.pending},
                  {"channels", stats.channels},
                  {"descriptorPauses", stats.descriptor_pauses},
                  {"pendingPauses", stats.pending_pauses}};
  for (const auto& counter : counters) {
    napi_value value;
    if (napi_create_int64(env, counter.value, &value) != napi_ok ||
        napi_set_named_property(env, object, counter.name, value) != napi_ok) {
      return nullptr;
    }
  }
  return object;
}

}  // namespace

bool ExportFdListener(napi_env env, napi_value exports) {
  return ExportClass(env, exports, "FdListener", Construct,
                     {{"start", Plain<&FdListener::Start>},
                      {"pause", Plain<&FdListener::Pause>},
                      {"drain", Drain},
                      {"closeConnection", OnConnection<&FdListener::CloseConnection>},
                      {"detachConnection", OnConnection<&FdListener::DetachConnection>},
                      {"keepConnection", OnChannel<&FdListener::KeepConnection>},
                      {"expectMessage", OnChannel<&FdListener::ExpectMessage>},
                      {"endReceiving", OnChannel<&FdListener::EndReceiving>},
                      {"answer", Answer},
                      {"stats", Stats},
                      {"ref", SetRef<true>},
                      {"unref", SetRef<false>},
                      {"close", Plain<&FdListener::Close>}});
}

}  // namespace fdpass
