// See account_ids.h.
#include "account_ids.h"

#include <grp.h>
#include <pwd.h>

#include <vector>

namespace fdpass {
namespace {

// A large group's entry lists all its members.
constexpr size_t kMaxEntryBytes = 1024 * 1024;

// getpwnam_r(3) and getgrnam_r(3) take a buffer whose size nobody can know beforehand.
template <typename Entry, typename Lookup>
SysResult Find(const std::string& name, const char* call, Lookup lookup, Entry** found, Entry* entry,
               std::vector<char>* buffer) {
  if (name.find('\0') != std::string::npos) return SysResult::Error(EINVAL, call);
  for (;;) {
    const int error = lookup(name.c_str(), entry, buffer->data(), buffer->size(), found);
    if (error == EINTR) continue;
    if (error == ERANGE && buffer->size() < kMaxEntryBytes) {
      buffer->resize(buffer->size() * 2);
      continue;
    }
    if (error != 0) return SysResult::Error(error, call);
    return *found == nullptr ? SysResult::Error(ENOENT, call) : SysResult::Ok();
  }
}

}  // namespace

SysResult UserId(const std::string& name) {
  passwd entry;
  passwd* found = nullptr;
  std::vector<char> buffer(1024);
  const SysResult answer = Find(name, "getpwnam_r", getpwnam_r, &found, &entry, &buffer);
  return answer.Failed() ? answer : SysResult::Ok(found->pw_uid);
}

SysResult GroupId(const std::string& name) {
  group entry;
  group* found = nullptr;
  std::vector<char> buffer(1024);
  const SysResult answer = Find(name, "getgrnam_r", getgrnam_r, &found, &entry, &buffer);
  return answer.Failed() ? answer : SysResult::Ok(found->gr_gid);
}

}  // namespace fdpass
