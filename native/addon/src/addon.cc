// The addon's entry: what is exported, and the constants. Argument checks are in the addon_*.cc and *_class.cc files; no file of
// these makes a system call.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <node_api.h>
#include <sys/socket.h>
#include <uv.h>

#include <vector>

#include "addon_exports.h"
#include "environment.h"

namespace fdpass {
namespace {

struct Constant {
  const char* name;
  int value;
};

constexpr Constant kConstants[] = {
    {"SOL_SOCKET", SOL_SOCKET},
    {"SO_RCVLOWAT", SO_RCVLOWAT},
    {"SO_KEEPALIVE", SO_KEEPALIVE},
    {"SO_RCVBUF", SO_RCVBUF},
    {"SO_SNDBUF", SO_SNDBUF},
    {"SO_REUSEADDR", SO_REUSEADDR},
    {"SO_REUSEPORT", SO_REUSEPORT},
    {"IPPROTO_TCP", IPPROTO_TCP},
    {"TCP_NODELAY", TCP_NODELAY},
    {"TCP_CORK", TCP_CORK},
    {"TCP_USER_TIMEOUT", TCP_USER_TIMEOUT},
    {"TCP_MAXSEG", TCP_MAXSEG},
    {"AF_UNIX", AF_UNIX},
    {"AF_INET", AF_INET},
    {"AF_INET6", AF_INET6},
    {"SOCK_STREAM", SOCK_STREAM},
    {"SOCK_DGRAM", SOCK_DGRAM},
    {"READABLE", UV_READABLE},
    {"WRITABLE", UV_WRITABLE},
    {"DISCONNECT", UV_DISCONNECT},
};

bool ExportConstants(napi_env env, napi_value exports) {
  napi_value constants;
  if (napi_create_object(env, &constants) != napi_ok) return false;
  for (const Constant& constant : kConstants) {
    napi_value value;
    if (napi_create_int32(env, constant.value, &value) != napi_ok ||
        napi_set_named_property(env, constants, constant.name, value) != napi_ok) {
      return false;
    }
  }
  return napi_object_freeze(env, constants) == napi_ok &&
         napi_set_named_property(env, exports, "constants", constants) == napi_ok;
}

}  // namespace

bool ExportFunctions(napi_env env, napi_value exports, std::initializer_list<Export> functions) {
  for (const Export& entry : functions) {
    napi_value function;
    if (napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, entry.function, nullptr, &function) != napi_ok ||
        napi_set_named_property(env, exports, entry.name, function) != napi_ok) {
      return false;
    }
  }
  return true;
}

bool ExportClass(napi_env env, napi_value exports, const char* name, napi_callback constructor,
                 std::initializer_list<Export> methods) {
  std::vector<napi_property_descriptor> properties;
  for (const Export& method : methods) {
    properties.push_back({method.name, nullptr, method.function, nullptr, nullptr, nullptr, napi_default_method, nullptr});
  }
  napi_value object;
  return napi_define_class(env, name, NAPI_AUTO_LENGTH, constructor, nullptr, properties.size(), properties.data(),
                           &object) == napi_ok &&
         napi_set_named_property(env, exports, name, object) == napi_ok;
}

}  // namespace fdpass

// Context-aware: one environment after the other, or several at once (worker threads), may load it.
NAPI_MODULE_INIT() {
  using namespace fdpass;
  if (Environment::Create(env) == nullptr) return nullptr;
  if (!ExportFdListener(env, exports) || !ExportFdPoller(env, exports) || !ExportParkingLot(env, exports) ||
      !ExportSockets(env, exports) || !ExportFacts(env, exports) || !ExportConstants(env, exports)) {
    return nullptr;
  }
  return exports;
}
