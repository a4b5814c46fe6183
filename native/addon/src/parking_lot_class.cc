// The JavaScript class ParkingLot: argument checks around parking_lot.h.
#include "parking_lot.h"

#include <memory>

#include "addon_exports.h"
#include "arguments.h"
#include "environment.h"
#include "system_error.h"

namespace fdpass {
namespace {

constexpr napi_type_tag kTag = {0x6664706173732d70ULL, 0x61726b696e673031ULL};

ParkingLot* Self(napi_env env, const Arguments& args) {
  return static_cast<ParkingLot*>(UnwrapSelf(env, args.self(), &kTag));
}

napi_value Construct(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  napi_value on_events;
  if (!args.Constructing("ParkingLot") || !args.Function(0, "onEvents", &on_events)) return nullptr;
  auto lot = std::make_unique<ParkingLot>(Environment::Of(env));
  if (!lot->Wrap(args.self(), &kTag)) return nullptr;
  if (!lot->on_events().Set(env, on_events, args.self(), "FDPASSPARKING")) {
    lot->Unwrap(args.self());
    return nullptr;
  }
  const SysResult opened = lot->Open();
  if (opened.Failed()) {
    lot->Unwrap(args.self());
    return NothingOrThrow(env, opened);
  }
  lot.release();  // the wrapper owns it
  return args.self();
}

napi_value Park(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  ParkingLot* lot = Self(env, args);
  int fd, timeout_ms;
  if (lot == nullptr || !args.Fd(0, &fd) || !args.Int32Between(1, "timeoutMs", 0, INT32_MAX, &timeout_ms)) return nullptr;
  return NothingOrThrow(env, lot->Park(fd, static_cast<uint32_t>(timeout_ms)));
}

napi_value Unpark(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  ParkingLot* lot = Self(env, args);
  int fd;
  napi_value was_parked;
  if (lot == nullptr || !args.Fd(0, &fd)) return nullptr;
  return napi_get_boolean(env, lot->Unpark(fd), &was_parked) == napi_ok ? was_parked : nullptr;
}

napi_value Size(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  ParkingLot* lot = Self(env, args);
  return lot == nullptr ? nullptr : ValueOrThrow(env, SysResult::Ok(static_cast<int64_t>(lot->size())));
}

napi_value Close(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  if (ParkingLot* lot = Self(env, args)) lot->Close();
  return nullptr;
}

}  // namespace

bool ExportParkingLot(napi_env env, napi_value exports) {
  return ExportClass(env, exports, "ParkingLot", Construct,
                     {{"park", Park}, {"unpark", Unpark}, {"size", Size}, {"close", Close}});
}

}  // namespace fdpass
