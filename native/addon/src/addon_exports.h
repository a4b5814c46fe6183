// The parts of the export table. Each adds its functions or its class to `exports`, and answers false with an exception pending.
#ifndef FDPASS_ADDON_EXPORTS_H_
#define FDPASS_ADDON_EXPORTS_H_

#include <node_api.h>

#include <initializer_list>

namespace fdpass {

bool ExportSockets(napi_env env, napi_value exports);
bool ExportFacts(napi_env env, napi_value exports);
bool ExportFdListener(napi_env env, napi_value exports);
bool ExportFdPoller(napi_env env, napi_value exports);
bool ExportParkingLot(napi_env env, napi_value exports);

struct Export {
  const char* name;
  napi_callback function;
};

bool ExportFunctions(napi_env env, napi_value exports, std::initializer_list<Export> functions);
bool ExportClass(napi_env env, napi_value exports, const char* name, napi_callback constructor,
                 std::initializer_list<Export> methods);

}  // namespace fdpass

#endif  // FDPASS_ADDON_EXPORTS_H_
