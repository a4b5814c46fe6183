// Argument checks in the manner of Node.js: ERR_INVALID_ARG_TYPE and ERR_OUT_OF_RANGE, the argument named.
#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace fdpass {
namespace {

constexpr size_t kTextBytes = 64 * 1024;
// What an unusually long text made of the memory for it is given back with the next one.
constexpr size_t kKeptTextBytes = 1024 * 1024;
constexpr double kMaxSafeInteger = 9007199254740991.0;

}  // namespace

Arguments::Arguments(napi_env env, napi_callback_info info) : env_(env), info_(info) {
  size_t count = kMax;
  // Missing arguments come as undefined, so every reader finds a value.
  napi_get_cb_info(env, info, &count, values_, &self_, nullptr);
}

bool Arguments::Constructing(const char* class_name) const {
  napi_value target = nullptr;
  if (napi_get_new_target(env_, info_, &target) == napi_ok && target != nullptr) return true;
  const std::string text = std::string("Class constructor ") + class_name + " cannot be invoked without 'new'";
  napi_throw_type_error(env_, nullptr, text.c_str());
  return false;
}

bool Arguments::Has(size_t index) const {
  napi_valuetype type;
  return napi_typeof(env_, values_[index], &type) == napi_ok && type != napi_undefined;
}

bool Arguments::WrongType(const char* name, const char* expected) const {
  const std::string text = std::string("The \"") + name + "\" argument must be " + expected;
  napi_throw_type_error(env_, "ERR_INVALID_ARG_TYPE", text.c_str());
  return false;
}

bool Arguments::OutOfRange(const char* name, const std::string& bounds) const {
  const std::string text = std::string("The value of \"") + name + "\" is out of range: it must be " + bounds;
  napi_throw_range_error(env_, "ERR_OUT_OF_RANGE", text.c_str());
  return false;
}

bool Arguments::ToInt32(napi_value value, const char* name, int32_t least, int32_t most, int32_t* out) const {
  double number;
  if (napi_get_value_double(env_, value, &number) != napi_ok) return WrongType(name, "an integer");
  if (!(number >= least && number <= most) || std::floor(number) != number) {
    return OutOfRange(name, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
  }
  *out = static_cast<int32_t>(number);
  return true;
}

bool Arguments::Int32(size_t index, const char* name, int32_t* out) const {
  return ToInt32(values_[index], name, INT32_MIN, INT32_MAX, out);
}

bool Arguments::Int32Between(size_t index, const char* name, int32_t least, int32_t most, int32_t* out) const {
  return ToInt32(values_[index], name, least, most, out);
}

bool Arguments::Size(size_t index, const char* name, uint64_t* out) const {
  double number;
  if (napi_get_value_double(env_, values_[index], &number) != napi_ok) return WrongType(name, "an integer");
  if (!(number >= 0 && number <= kMaxSafeInteger) || std::floor(number) != number) {
    return OutOfRange(name, "a safe integer that is not negative");
  }
  *out = static_cast<uint64_t>(number);
  return true;
}

bool Arguments::String(size_t index, const char* name, std::string* out) const {
  size_t length;
  if (napi_get_value_string_utf8(env_, values_[index], nullptr, 0, &length) != napi_ok) {
    return WrongType(name, "a string");
  }
  out->resize(length + 1);
  if (napi_get_value_string_utf8(env_, values_[index], &(*out)[0], out->size(), &length) != napi_ok) {
    return WrongType(name, "a string");
  }
  out->resize(length);
  return true;
}

bool Arguments::Text(size_t index, const char* name, Bytes* out) const {
  static thread_local std::vector<char> memory(kTextBytes);
  if (memory.size() > kKeptTextBytes) std::vector<char>(kTextBytes).swap(memory);
  size_t length;
  if (napi_get_value_string_utf8(env_, values_[index], memory.data(), memory.size(), &length) != napi_ok) {
    return WrongType(name, "a string");
  }
  // It may have been cut: a character has up to four bytes, and one byte is for the NUL behind it.
  if (length + 5 > memory.size()) {
    size_t whole;
    napi_get_value_string_utf8(env_, values_[index], nullptr, 0, &whole);
    memory.resize(std::max(memory.size(), whole + 1));
    napi_get_value_string_utf8(env_, values_[index], memory.data(), memory.size(), &length);
  }
  out->data = reinterpret_cast<uint8_t*>(memory.data());
  out->length = length;
  return true;
}

bool Arguments::Boolean(size_t index, const char* name, bool* out) const {
  return napi_get_value_bool(env_, values_[index], out) == napi_ok || WrongType(name, "a boolean");
}

bool Arguments::ByteArray(size_t index, const char* name, size_t least, Bytes* out) const {
  bool is_typed_array = false;
  napi_typedarray_type type;
  void* data = nullptr;
  if (napi_is_typedarray(env_, values_[index], &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env_, values_[index], &type, &out->length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    return WrongType(name, "a Uint8Array");
  }
  // An array whose buffer was transferred away has no memory, whatever its length says.
  if (data == nullptr) out->length = 0;
  if (out->length < least) return OutOfRange(name, "a Uint8Array that is not empty");
  out->data = static_cast<uint8_t*>(data);
  return true;
}

bool Arguments::NumberArray(size_t index, const char* name, size_t length, double** out) const {
  bool is_typed_array = false;
  napi_typedarray_type type;
  size_t found = 0;
  void* data = nullptr;
  if (napi_is_typedarray(env_, values_[index], &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env_, values_[index], &type, &found, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float64_array || found != length || data == nullptr) {
    return WrongType(name, "a Float64Array of the right length");
  }
  *out = static_cast<double*>(data);
  return true;
}

bool Arguments::Fds(size_t index, const char* name, size_t least, size_t most, std::vector<int>* out) const {
  bool is_array = false;
  uint32_t length = 0;
  if (napi_is_array(env_, values_[index], &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env_, values_[index], &length) != napi_ok) {
    return WrongType(name, "an array of descriptors");
  }
  if (length < least || length > most) {
    return OutOfRange(name, "an array of " + std::to_string(least) + " to " + std::to_string(most));
  }
  for (uint32_t i = 0; i < length; i++) {
    napi_value value;
    int fd;
    // A getter on the array may throw: that exception is the caller's own.
    if (napi_get_element(env_, values_[index], i, &value) != napi_ok) return false;
    if (!ToInt32(value, name, INT32_MIN, INT32_MAX, &fd)) return false;
    out->push_back(fd);
  }
  return true;
}

bool Arguments::Function(size_t index, const char* name, napi_value* out) const {
  napi_valuetype type;
  if (napi_typeof(env_, values_[index], &type) != napi_ok || type != napi_function) {
    return WrongType(name, "a function");
  }
  *out = values_[index];
  return true;
}

bool Arguments::Property(size_t index, const char* name, int32_t least, int32_t most, int32_t* out) const {
  napi_valuetype type;
  if (napi_typeof(env_, values_[index], &type) != napi_ok || type != napi_object) {
    return WrongType("options", "an object");
  }
  napi_value value;
  if (napi_get_named_property(env_, values_[index], name, &value) != napi_ok) return false;
  return ToInt32(value, name, least, most, out);
}

}  // namespace fdpass
