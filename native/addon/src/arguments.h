// Reads the arguments of one call from JavaScript: a wrong type throws a TypeError, a number out of bounds a RangeError.
// Every reader answers false with the exception pending; nothing here trusts what the caller passed.
#ifndef FDPASS_ARGUMENTS_H_
#define FDPASS_ARGUMENTS_H_

#include <node_api.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fdpass {

// Bytes of a Uint8Array, borrowed for the duration of the call.
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

class Arguments {
 public:
  static constexpr size_t kMax = 5;

  Arguments(napi_env env, napi_callback_info info);

  // False with a TypeError pending if called without `new`.
  bool Constructing(const char* class_name) const;
  napi_value self() const { return self_; }
  bool Has(size_t index) const;

  // A descriptor: any 32-bit integer. What is no open descriptor is the kernel's to say (EBADF).
  bool Fd(size_t index, int* out) const { return Int32(index, "fd", out); }
  bool Int32(size_t index, const char* name, int32_t* out) const;
  bool Int32Between(size_t index, const char* name, int32_t least, int32_t most, int32_t* out) const;
  // A safe integer, not negative.
  bool Size(size_t index, const char* name, uint64_t* out) const;
  bool String(size_t index, const char* name, std::string* out) const;
  // A string as UTF-8, in memory of the addon's own that the next call of this function in the same thread writes to.
  bool Text(size_t index, const char* name, Bytes* out) const;
  bool Boolean(size_t index, const char* name, bool* out) const;
  // `least`: 1 where an empty array would make the answer ambiguous.
  bool ByteArray(size_t index, const char* name, size_t least, Bytes* out) const;
  // A Float64Array of exactly `length` numbers, borrowed for the duration of the call.
  bool NumberArray(size_t index, const char* name, size_t length, double** out) const;
  bool Fds(size_t index, const char* name, size_t least, size_t most, std::vector<int>* out) const;
  bool Function(size_t index, const char* name, napi_value* out) const;
  // The integer property `name` of the object at `index`.
  bool Property(size_t index, const char* name, int32_t least, int32_t most, int32_t* out) const;

 private:
  bool ToInt32(napi_value value, const char* name, int32_t least, int32_t most, int32_t* out) const;
  bool WrongType(const char* name, const char* expected) const;
  bool OutOfRange(const char* name, const std::string& bounds) const;

  napi_env env_;
  napi_callback_info info_;
  napi_value self_ = nullptr;
  napi_value values_[kMax] = {};
};

}  // namespace fdpass

#endif  // FDPASS_ARGUMENTS_H_
