// What one wake-up of a listener brings to JavaScript: bytes one after the other, and a record for each part. The layout is
// RECORD and RECORD_FLAG of index.ts. Owns no descriptor: the numbers in it are registered with the environment.
#ifndef FDPASS_BATCH_H_
#define FDPASS_BATCH_H_

#include <node_api.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fdpass {

struct Record {
  int32_t connection = 0;
  int32_t offset = 0;
  int32_t length = 0;
  int32_t flags = 0;
  int32_t error = 0;
  int32_t fd_count = 0;
  int32_t fds[2] = {-1, -1};
  int32_t fd_0_facts = 0;
  int32_t pid = 0;
  int32_t uid = 0;
  int32_t gid = 0;
};
static_assert(sizeof(Record) == 12 * sizeof(int32_t), "a record is RECORD.STRIDE integers without padding");

enum RecordFlag : int32_t {
  kRecordEof = 1,
  kRecordTimeout = 2,
  kRecordControlTruncated = 4,
  kRecordTooManyFds = 8,
  kRecordError = 16,
};

class Batch {
 public:
  // Most bytes one recvmsg takes.
  static constexpr size_t kReadBytes = 64 * 1024;

  void Clear();

  // Where the next recvmsg may write kReadBytes.
  uint8_t* Room();

  // Adds a record; its bytes are the first `length` of the last Room().
  void Add(const Record& record);

  size_t size() const { return records_.size(); }
  const std::vector<Record>& records() const { return records_; }

  // Copies both into JavaScript's own memory. False if JavaScript cannot run or has no memory.
  bool ToJs(napi_env env, napi_value* bytes, napi_value* records) const;

 private:
  // What an unusually large batch made of the buffer is given back after it.
  static constexpr size_t kKeptBytes = 1024 * 1024;

  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
  std::vector<Record> records_;
};

}  // namespace fdpass

#endif  // FDPASS_BATCH_H_
