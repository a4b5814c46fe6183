// Argument checks for facts and options, and the objects they are answered in.
#include <cstdint>
#include <string>

#include "account_ids.h"
#include "addon_exports.h"
#include "arguments.h"
#include "ingress.h"
#include "link_events.h"
#include "socket_facts.h"
#include "socket_options.h"
#include "system_error.h"

namespace fdpass {
namespace {

// Builds a plain object; once something failed the rest does nothing and Value() is nullptr.
class ObjectBuilder {
 public:
  explicit ObjectBuilder(napi_env env) : env_(env) { ok_ = napi_create_object(env, &object_) == napi_ok; }

  ObjectBuilder& Number(const char* name, double number) {
    napi_value value;
    ok_ = ok_ && napi_create_double(env_, number, &value) == napi_ok &&
          napi_set_named_property(env_, object_, name, value) == napi_ok;
    return *this;
  }
  ObjectBuilder& Text(const char* name, const std::string& text) {
    napi_value value;
    ok_ = ok_ && napi_create_string_utf8(env_, text.data(), text.size(), &value) == napi_ok &&
          napi_set_named_property(env_, object_, name, value) == napi_ok;
    return *this;
  }
  napi_value Value() const { return ok_ ? object_ : nullptr; }

 private:
  napi_env env_;
  napi_value object_ = nullptr;
  bool ok_ = false;
};

// A function of one descriptor that answers a number.
template <SysResult (*Function)(int)>
napi_value OfFd(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  return ValueOrThrow(env, Function(fd));
}

template <SysResult (*Function)(int, Address*)>
napi_value AddressOf(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  Address address;
  const SysResult answer = Function(fd, &address);
  if (answer.Failed()) return NothingOrThrow(env, answer);
  return ObjectBuilder(env)
      .Text("family", address.family)
      .Text("address", address.text)
      .Number("port", address.port)
      .Value();
}

// A function of one name that answers a number.
template <SysResult (*Function)(const std::string&)>
napi_value OfName(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  std::string name;
  if (!args.String(0, "name", &name)) return nullptr;
  return ValueOrThrow(env, Function(name), {name, "", -1});
}

napi_value JsPeerCredentials(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  ucred peer = {};
  const SysResult answer = PeerCredentials(fd, &peer);
  if (answer.Failed()) return NothingOrThrow(env, answer);
  return ObjectBuilder(env).Number("pid", peer.pid).Number("uid", peer.uid).Number("gid", peer.gid).Value();
}

napi_value JsTcpInfo(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  TcpInfo tcp;
  const SysResult answer = ReadTcpInfo(fd, &tcp);
  if (answer.Failed()) return NothingOrThrow(env, answer);
  return ObjectBuilder(env)
      .Number("state", tcp.state)
      .Number("rttUs", tcp.rtt)
      .Number("rttVarianceUs", tcp.rttvar)
      .Number("retransmits", tcp.retransmits)
      .Number("totalRetransmits", tcp.total_retrans)
      .Number("sendMss", tcp.snd_mss)
      .Number("receiveMss", tcp.rcv_mss)
      .Number("advertisedMss", tcp.advmss)
      .Number("pathMtu", tcp.pmtu)
      .Number("sendCongestionWindow", tcp.snd_cwnd)
      .Number("receiveSpace", tcp.rcv_space)
      .Number("unacked", tcp.unacked)
      .Number("bytesAcked", static_cast<double>(tcp.bytes_acked))
      .Number("bytesReceived", static_cast<double>(tcp.bytes_received))
      .Number("bytesSent", static_cast<double>(tcp.bytes_sent))
      .Number("bytesRetransmitted", static_cast<double>(tcp.bytes_retrans))
      .Number("notSentBytes", tcp.notsent_bytes)
      .Number("deliveryRate", static_cast<double>(tcp.delivery_rate))
      .Value();
}

// Asked for each connection at its beginning and end: an error object would cost more than the answer.
napi_value JsTcpBytes(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  double* target;
  if (!args.Fd(0, &fd) || !args.NumberArray(1, "target", 2, &target)) return nullptr;
  const SysResult answer = ReadTcpBytes(fd, &target[0], &target[1]);
  if (answer.Failed() && answer.error == EBADF) return NothingOrThrow(env, answer);
  napi_value value = nullptr;
  napi_get_boolean(env, !answer.Failed(), &value);
  return value;
}

napi_value JsGetOption(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd, level, name;
  if (!args.Fd(0, &fd) || !args.Int32(1, "level", &level) || !args.Int32(2, "name", &name)) return nullptr;
  return ValueOrThrow(env, GetOption(fd, level, name));
}

napi_value JsSetOption(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd, level, name, value;
  if (!args.Fd(0, &fd) || !args.Int32(1, "level", &level) || !args.Int32(2, "name", &name) ||
      !args.Int32(3, "value", &value)) {
    return nullptr;
  }
  return NothingOrThrow(env, SetOption(fd, level, name, value));
}

napi_value JsTcpUlp(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  std::string name;
  const SysResult answer = ReadTcpUlp(fd, &name);
  if (answer.Failed()) return NothingOrThrow(env, answer);
  napi_value value = nullptr;
  napi_create_string_utf8(env, name.data(), name.size(), &value);
  return value;
}

napi_value JsInterfaces(napi_env env, napi_callback_info) {
  Interfaces interfaces;
  const SysResult answer = ReadInterfaces(&interfaces);
  if (answer.Failed()) return NothingOrThrow(env, answer);
  napi_value list;
  if (napi_create_array_with_length(env, interfaces.size(), &list) != napi_ok) return nullptr;
  uint32_t position = 0;
  for (const auto& [index, name] : interfaces) {
    napi_value entry = ObjectBuilder(env).Number("index", index).Text("name", name).Value();
    if (entry == nullptr || napi_set_element(env, list, position++, entry) != napi_ok) return nullptr;
  }
  return list;
}

napi_value JsOpenLinkEvents(napi_env env, napi_callback_info) { return ValueOrThrow(env, OpenLinkEvents()); }

napi_value JsDrainLinkEvents(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  int fd;
  if (!args.Fd(0, &fd)) return nullptr;
  const SysResult has_changed = DrainLinkEvents(fd);
  if (has_changed.Failed()) return NothingOrThrow(env, has_changed);
  napi_value answer = nullptr;
  napi_get_boolean(env, has_changed.value == 1, &answer);
  return answer;
}

napi_value JsDescriptorLimits(napi_env env, napi_callback_info) {
  DescriptorLimits limits;
  const SysResult answer = ReadDescriptorLimits(&limits);
  if (answer.Failed()) return NothingOrThrow(env, answer);
  return ObjectBuilder(env).Number("soft", limits.soft).Number("hard", limits.hard).Value();
}

}  // namespace

bool ExportFacts(napi_env env, napi_value exports) {
  return ExportFunctions(env, exports,
                         {{"inspectSocket", OfFd<SocketFacts>},
                          {"localAddress", AddressOf<LocalAddress>},
                          {"peerAddress", AddressOf<PeerAddress>},
                          {"peerCredentials", JsPeerCredentials},
                          {"ingressIfindex", OfFd<IngressIfindex>},
                          {"tcpInfo", JsTcpInfo},
                          {"tcpBytes", JsTcpBytes},
                          {"getOption", JsGetOption},
                          {"setOption", JsSetOption},
                          {"tcpUlp", JsTcpUlp},
                          {"readQueueBytes", OfFd<ReadQueueBytes>},
                          {"writeQueueBytes", OfFd<WriteQueueBytes>},
                          {"interfaces", JsInterfaces},
                          {"openLinkEvents", JsOpenLinkEvents},
                          {"drainLinkEvents", JsDrainLinkEvents},
                          {"descriptorLimits", JsDescriptorLimits},
                          {"userId", OfName<UserId>},
                          {"groupId", OfName<GroupId>}});
}

}  // namespace fdpass
