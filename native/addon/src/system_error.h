// What a system call answered, and how a failure becomes a Node-style system error. Makes no system call of its own.
#ifndef FDPASS_SYSTEM_ERROR_H_
#define FDPASS_SYSTEM_ERROR_H_

#include <node_api.h>

#include <cerrno>
#include <cstdint>
#include <string>

namespace fdpass {

// The value of a call, or the errno and the name of the call that failed.
struct [[nodiscard]] SysResult {
  int64_t value = 0;
  int error = 0;
  const char* call = "";

  bool Failed() const { return error != 0; }

  static SysResult Ok(int64_t value = 0) { return {value, 0, ""}; }
  static SysResult Error(int error, const char* call) { return {-1, error, call}; }
  // Reads errno: use it at once after the call.
  static SysResult Errno(const char* call) { return Error(errno, call); }
};

// Where it happened, for the error's `path`, `address` and `port`. Empty or negative: not known.
struct ErrorPlace {
  std::string path;
  std::string address;
  int port = -1;
};

// The C name of an errno ("ECONNREFUSED").
std::string ErrorName(int error);

// An Error with code, errno (negative), syscall and the place; nullptr with an exception pending if JavaScript cannot run.
napi_value MakeSystemError(napi_env env, int error, const char* call, const ErrorPlace& place = {});

void ThrowSystemError(napi_env env, int error, const char* call, const ErrorPlace& place = {});

// The value as a number, or throws.
napi_value ValueOrThrow(napi_env env, const SysResult& result, const ErrorPlace& place = {});

// undefined, or throws.
napi_value NothingOrThrow(napi_env env, const SysResult& result, const ErrorPlace& place = {});

// The value as a number, -1 for EAGAIN, or throws.
napi_value ValueOrAgain(napi_env env, const SysResult& result);

}  // namespace fdpass

#endif  // FDPASS_SYSTEM_ERROR_H_
