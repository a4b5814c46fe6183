// errno -> Error { code, errno, syscall, path, address, port }, in the words Node.js uses.
#include "system_error.h"

#include <uv.h>

#include <cstring>

namespace fdpass {
namespace {

struct Name {
  int error;
  const char* name;
};

// What these system calls can answer and libuv has no name for.
constexpr Name kNamesUvLacks[] = {
    {ETOOMANYREFS, "ETOOMANYREFS"}, {EBADMSG, "EBADMSG"}, {ENOLCK, "ENOLCK"}, {EDEADLK, "EDEADLK"},
    {ESTALE, "ESTALE"},             {EUSERS, "EUSERS"},   {EDQUOT, "EDQUOT"}, {EKEYEXPIRED, "EKEYEXPIRED"},
};

const char* NameUvLacks(int error) {
  for (const Name& entry : kNamesUvLacks) {
    if (entry.error == error) return entry.name;
  }
  return nullptr;
}

std::string Describe(int error) {
  char text[128] = "";
  if (NameUvLacks(error) == nullptr) {
    uv_strerror_r(-error, text, sizeof text);
    return text;
  }
  // The GNU strerror_r; musl's answers an int and fills `text`.
  struct {
    const char* operator()(const char* answer, const char*) const { return answer; }
    const char* operator()(int, const char* filled) const { return filled; }
  } pick;
  return pick(strerror_r(error, text, sizeof text), text);
}

bool SetString(napi_env env, napi_value object, const char* key, const std::string& text) {
  napi_value value;
  return napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok &&
         napi_set_named_property(env, object, key, value) == napi_ok;
}

bool SetInt(napi_env env, napi_value object, const char* key, int number) {
  napi_value value;
  return napi_create_int32(env, number, &value) == napi_ok &&
         napi_set_named_property(env, object, key, value) == napi_ok;
}

}  // namespace

std::string ErrorName(int error) {
  if (const char* name = NameUvLacks(error)) return name;
  char text[64] = "";
  uv_err_name_r(-error, text, sizeof text);
  return text;
}

napi_value MakeSystemError(napi_env env, int error, const char* call, const ErrorPlace& place) {
  // EAGAIN and EWOULDBLOCK are one number on Linux; flock(2) is documented with the second name.
  const bool lock_held = error == EWOULDBLOCK && std::strcmp(call, "flock") == 0;
  const std::string code = lock_held ? "EWOULDBLOCK" : ErrorName(error);
  std::string text = code + ": " + Describe(error) + ", " + call;
  if (!place.path.empty()) text += " '" + place.path + "'";
  if (!place.address.empty()) text += " " + place.address;
  if (!place.address.empty() && place.port >= 0) text += ":" + std::to_string(place.port);

  napi_value message, code_value, object;
  if (napi_create_string_utf8(env, text.data(), text.size(), &message) != napi_ok) return nullptr;
  if (napi_create_string_utf8(env, code.data(), code.size(), &code_value) != napi_ok) return nullptr;
  if (napi_create_error(env, code_value, message, &object) != napi_ok) return nullptr;
  if (!SetInt(env, object, "errno", -error) || !SetString(env, object, "syscall", call)) return nullptr;
  if (!place.path.empty() && !SetString(env, object, "path", place.path)) return nullptr;
  if (!place.address.empty() && !SetString(env, object, "address", place.address)) return nullptr;
  if (place.port >= 0 && !SetInt(env, object, "port", place.port)) return nullptr;
  return object;
}

void ThrowSystemError(napi_env env, int error, const char* call, const ErrorPlace& place) {
  napi_value object = MakeSystemError(env, error, call, place);
  if (object != nullptr) napi_throw(env, object);
}

napi_value ValueOrThrow(napi_env env, const SysResult& result, const ErrorPlace& place) {
  if (result.Failed()) {
    ThrowSystemError(env, result.error, result.call, place);
    return nullptr;
  }
  napi_value value = nullptr;
  napi_create_int64(env, result.value, &value);
  return value;
}

napi_value NothingOrThrow(napi_env env, const SysResult& result, const ErrorPlace& place) {
  if (result.Failed()) ThrowSystemError(env, result.error, result.call, place);
  return nullptr;
}

napi_value ValueOrAgain(napi_env env, const SysResult& result) {
  return ValueOrThrow(env, result.error == EAGAIN ? SysResult::Ok(-1) : result);
}

}  // namespace fdpass
