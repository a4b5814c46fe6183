// Argument checks for ownership, UNIX and TCP sockets, and bytes.
#include <sys/socket.h>

#include <vector>

#include "addon_exports.h"
#include "ancillary.h"
#include "answer.h"
#include "arguments.h"
#include "directory_lock.h"
#include "environment.h"
#include "sendfile_job.h"
#include "socket_bytes.h"
#include "system_error.h"
#include "tcp_socket.h"
#include "tls_records.h"
#include "unique_fd.h"
#include "unix_socket.h"

namespace fdpass {
namespace {

napi_value JsRegisterFd(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  return NothingOrThrow(env, Environment::Of(env).registry().Register(fd));
}

napi_value JsTakeFd(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  Environment::Of(env).registry().Take(fd);
  return ValueOrThrow(env, SysResult::Ok(fd));
}

napi_value JsCloseFd(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  return NothingOrThrow(env, Environment::Of(env).registry().Close(fd));
}

napi_value JsDupFd(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  return ValueOrThrow(env, Duplicate(fd));
}

napi_value JsRegisteredFdCount(napi_env env, napi_callback_info) {
  return ValueOrThrow(env, SysResult::Ok(static_cast<int64_t>(Environment::Of(env).registry().size())));
}

// The optional argument: a stream, unless the caller says otherwise.
bool SocketType(const Arguments& args, size_t index, int* out) {
  *out = SOCK_STREAM;
  return !args.Has(index) || args.Int32Between(index, "type", SOCK_STREAM, SOCK_DGRAM, out);
}

napi_value JsBindUnix(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  std::string path;
  int mode, type;
  if (!args.String(0, "path", &path) || !args.Int32Between(1, "mode", 0, 0777, &mode) || !SocketType(args, 2, &type)) {
    return nullptr;
  }
  return ValueOrThrow(env, BindUnix(path, static_cast<mode_t>(mode), type), {PrintablePath(path), "", -1});
}

napi_value JsListen(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd, backlog;
  if (!args.Fd(0, &fd) || !args.Int32Between(1, "backlog", 0, INT32_MAX, &backlog)) return nullptr;
  return NothingOrThrow(env, Listen(fd, backlog));
}

napi_value JsConnectUnix(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  std::string path;
  int type;
  if (!args.String(0, "path", &path) || !SocketType(args, 1, &type)) return nullptr;
  return ValueOrThrow(env, ConnectUnix(path, type), {PrintablePath(path), "", -1});
}

napi_value JsSocketpair(napi_env env, napi_callback_info) {
  int fds[2];
  const SysResult made = UnixPair(fds);
  if (made.Failed()) return NothingOrThrow(env, made);
  UniqueFd owners[2] = {UniqueFd(fds[0]), UniqueFd(fds[1])};
  napi_value pair;
  if (napi_create_array_with_length(env, 2, &pair) != napi_ok) return nullptr;
  for (uint32_t i = 0; i < 2; i++) {
    napi_value number;
    if (napi_create_int32(env, owners[i].Get(), &number) != napi_ok) return nullptr;
    if (napi_set_element(env, pair, i, number) != napi_ok) return nullptr;
  }
  for (UniqueFd& owner : owners) owner.Release();
  return pair;
}

napi_value JsWithDirectoryLock(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  std::string directory;
  int timeout_ms;
  napi_value while_locked, receiver, answer = nullptr;
  if (!args.String(0, "directory", &directory) || !args.Int32Between(1, "timeoutMs", 0, INT32_MAX, &timeout_ms) ||
      !args.Function(2, "whileLocked", &while_locked) || napi_get_undefined(env, &receiver) != napi_ok) {
    return nullptr;
  }
  const SysResult locked = LockDirectory(directory, timeout_ms);
  if (locked.Failed()) return ValueOrThrow(env, locked, {directory, "", -1});
  const UniqueFd lock(static_cast<int>(locked.value));
  // What it throws is left pending, for the caller.
  napi_call_function(env, receiver, while_locked, 0, nullptr, &answer);
  return answer;
}

napi_value JsBindTcp(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  std::string address;
  int port;
  bool reuse_port = false;
  if (!args.String(0, "address", &address) || !args.Int32Between(1, "port", 0, 65535, &port)) return nullptr;
  if (args.Has(2) && !args.Boolean(2, "reusePort", &reuse_port)) return nullptr;
  return ValueOrThrow(env, BindTcp(address, port, reuse_port), {"", address, port});
}

napi_value JsAttachReuseportFilter(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  Bytes program;
  if (!args.Fd(0, &fd) || !args.ByteArray(1, "program", 0, &program)) return nullptr;
  return NothingOrThrow(env, AttachReuseportFilter(fd, program.data, program.length));
}

napi_value JsAccept(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  return ValueOrAgain(env, Accept(fd));
}

napi_value JsResetTcp(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  ResetWhenClosed(fd);
  return NothingOrThrow(env, Environment::Of(env).registry().Close(fd));
}

// A function that fills the caller's bytes. With no room its answer 0 would look like the end.
template <SysResult (*Function)(int, uint8_t*, size_t)>
napi_value Into(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  Bytes target;
  if (!args.Fd(0, &fd) || !args.ByteArray(1, "target", 1, &target)) return nullptr;
  return ValueOrAgain(env, Function(fd, target.data, target.length));
}

napi_value JsWrite(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  Bytes bytes;
  if (!args.Fd(0, &fd) || !args.ByteArray(1, "bytes", 0, &bytes)) return nullptr;
  return ValueOrAgain(env, Write(fd, bytes.data, bytes.length));
}

// The head comes as a string: most answers are one, and making a Buffer of each would cost more than sending it.
napi_value JsSendAnswer(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  Bytes head, body;
  bool end_follows;
  if (!args.Fd(0, &fd) || !args.Boolean(1, "endFollows", &end_follows) || !args.Text(2, "head", &head)) return nullptr;
  if (args.Has(3) && !args.ByteArray(3, "body", 0, &body)) return nullptr;
  return ValueOrThrow(env, SendAnswer(fd, head, body, end_follows));
}

napi_value JsSendFds(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  Bytes bytes;
  std::vector<int> fds;
  // Descriptors need a byte to travel with: without one the kernel drops them.
  if (!args.Fd(0, &fd) || !args.ByteArray(1, "bytes", 1, &bytes) || !args.Fds(2, "fds", 1, kMaxPassedFds, &fds)) {
    return nullptr;
  }
  return ValueOrAgain(env, SendWithFds(fd, bytes.data, bytes.length, fds));
}

napi_value JsShutdown(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd, how;
  if (!args.Fd(0, &fd) || !args.Int32Between(1, "how", 0, 2, &how)) return nullptr;
  return NothingOrThrow(env, Shutdown(fd, how));
}

napi_value JsSendfile(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int out_fd, in_fd;
  uint64_t offset, length;
  napi_value callback;
  if (!args.Int32(0, "outFd", &out_fd) || !args.Int32(1, "inFd", &in_fd) || !args.Size(2, "offset", &offset) ||
      !args.Size(3, "length", &length) || !args.Function(4, "callback", &callback)) {
    return nullptr;
  }
  return NothingOrThrow(env, StartSendfile(env, out_fd, in_fd, offset, length, callback));
}

napi_value JsTlsDirection(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd, direction;
  if (!args.Fd(0, &fd) || !args.Int32Between(1, "direction", kTlsTx, kTlsRx, &direction)) return nullptr;
  return ValueOrThrow(env, TlsDirection(fd, direction));
}

napi_value JsSendTlsAlert(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd, level, description;
  if (!args.Fd(0, &fd) || !args.Int32Between(1, "level", 1, 2, &level) ||
      !args.Int32Between(2, "description", 0, 255, &description)) {
    return nullptr;
  }
  return ValueOrAgain(env, SendTlsAlert(fd, static_cast<uint8_t>(level), static_cast<uint8_t>(description)));
}

}  // namespace

bool ExportSockets(napi_env env, napi_value exports) {
  return ExportFunctions(env, exports,
                         {{"registerFd", JsRegisterFd},
                          {"takeFd", JsTakeFd},
                          {"closeFd", JsCloseFd},
                          {"dupFd", JsDupFd},
                          {"registeredFdCount", JsRegisteredFdCount},
                          {"bindUnix", JsBindUnix},
                          {"listen", JsListen},
                          {"connectUnix", JsConnectUnix},
                          {"socketpair", JsSocketpair},
                          {"withDirectoryLock", JsWithDirectoryLock},
                          {"bindTcp", JsBindTcp},
                          {"accept", JsAccept},
                          {"resetTcp", JsResetTcp},
                          {"attachReuseportFilter", JsAttachReuseportFilter},
                          {"peek", Into<Peek>},
                          {"read", Into<Read>},
                          {"write", JsWrite},
                          {"sendAnswer", JsSendAnswer},
                          {"sendFds", JsSendFds},
                          {"shutdown", JsShutdown},
                          {"sendfile", JsSendfile},
                          {"tlsDirection", JsTlsDirection},
                          {"readTlsRecord", Into<ReadTlsRecord>},
                          {"sendTlsAlert", JsSendTlsAlert}});
}

}  // namespace fdpass
