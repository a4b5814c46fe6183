// See batch.h.
#include "batch.h"

#include <algorithm>
#include <cstring>

namespace fdpass {

void Batch::Clear() {
  used_ = 0;
  records_.clear();
  if (bytes_.size() > kKeptBytes) std::vector<uint8_t>().swap(bytes_);
}

uint8_t* Batch::Room() {
  if (bytes_.size() < used_ + kReadBytes) bytes_.resize(std::max(bytes_.size() * 2, used_ + kReadBytes));
  return bytes_.data() + used_;
}

void Batch::Add(const Record& record) {
  records_.push_back(record);
  records_.back().offset = static_cast<int32_t>(used_);
  used_ += static_cast<size_t>(record.length);
}

bool Batch::ToJs(napi_env env, napi_value* bytes, napi_value* records) const {
  napi_value memory;
  void* target = nullptr;
  const size_t size = records_.size() * sizeof(Record);
  if (napi_create_buffer_copy(env, used_, bytes_.data(), nullptr, bytes) != napi_ok) return false;
  if (napi_create_arraybuffer(env, size, &target, &memory) != napi_ok) return false;
  if (size != 0) std::memcpy(target, records_.data(), size);
  return napi_create_typedarray(env, napi_int32_array, size / sizeof(int32_t), memory, 0, records) == napi_ok;
}

}  // namespace fdpass
