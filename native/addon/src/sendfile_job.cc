// See sendfile_job.h.
#include "sendfile_job.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>

#include "unique_fd.h"

namespace fdpass {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kStepBytes = 1024 * 1024;
// When a job gives way: to other jobs that want a thread of the pool, after so many bytes; to whoever else uses the pool, after so long.
constexpr uint64_t kTurnBytes = 4 * 1024 * 1024;
constexpr std::chrono::milliseconds kLongestTurn{10};
// A client that keeps up makes room within microseconds: to await that here spares a way through the event loop and back. For any other
// one the event loop waits; this is what it may cost a thread of the pool before, each time and in a whole job.
constexpr std::chrono::milliseconds kLongestWait{1};
constexpr std::chrono::milliseconds kLongestWaits{5};

// Those of all environments, queued or running: they share one pool.
std::atomic<int> jobs{0};

// sendfile has no MSG_NOSIGNAL. Node.js ignores SIGPIPE, but a program that listened to it once (process.on) leaves it at its
// default, which kills. Blocked here, a SIGPIPE of this thread's own making is taken away before it is unblocked.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~NoSigpipe() {
    const timespec now = {0, 0};
    while (!was_pending_ && sigtimedwait(&sigpipe_, nullptr, &now) < 0 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t sigpipe_;
  sigset_t before_;
  bool was_pending_ = false;
};

// Whether some job of the process is waiting: however many clients there are, no more than one thread of the pool stands still.
std::atomic<bool> is_somebody_waiting{false};

// True when a full socket has room again, or an error, which the next sendfile tells; the time it took is taken off `left`. False
// when it is the event loop's turn to wait.
bool AwaitRoom(int fd, std::chrono::nanoseconds* left) {
  if (*left < kLongestWait || is_somebody_waiting.exchange(true)) return false;
  const auto start = Clock::now();
  pollfd room = {fd, POLLOUT, 0};
  const int ready = poll(&room, 1, static_cast<int>(kLongestWait.count()));
  is_somebody_waiting.store(false);
  *left -= Clock::now() - start;
  return ready > 0;
}

struct Job {
  UniqueFd out;
  UniqueFd in;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t sent = 0;
  int error = 0;
  bool would_block = false;
  napi_async_work work = nullptr;
  napi_ref callback = nullptr;
};

bool ShallGiveWay(const Job& job, Clock::time_point start) {
  if (job.sent == 0) return false;
  const bool others = jobs.load(std::memory_order_relaxed) > 1;
  return (others && job.sent >= kTurnBytes) || Clock::now() - start >= kLongestTurn;
}

void Execute(napi_env, void* data) {
  auto* job = static_cast<Job*>(data);
  const NoSigpipe guard;
  const auto start = Clock::now();
  auto position = static_cast<off_t>(job->offset);
  std::chrono::nanoseconds left = kLongestWaits;
  while (job->sent < job->length && !ShallGiveWay(*job, start)) {
    const uint64_t step = std::min(job->length - job->sent, kStepBytes);
    const ssize_t count = sendfile(job->out.Get(), job->in.Get(), &position, static_cast<size_t>(step));
    if (count > 0) {
      job->sent += static_cast<uint64_t>(count);
    } else if (count == 0) {
      return;  // the file ends here
    } else if (errno == EAGAIN) {
      if (AwaitRoom(job->out.Get(), &left)) continue;
      job->would_block = true;
      return;
    } else if (errno != EINTR) {
      job->error = errno;
      return;
    }
  }
}

void Complete(napi_env env, napi_status status, void* data) {
  jobs.fetch_sub(1, std::memory_order_relaxed);
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  job->in.Reset();
  job->out.Reset();
  napi_value callback = nullptr;
  napi_get_reference_value(env, job->callback, &callback);
  napi_delete_reference(env, job->callback);
  napi_delete_async_work(env, job->work);
  // Cancelled: the environment is ending, JavaScript does not run any more.
  if (status != napi_ok || callback == nullptr) return;
  napi_value receiver, arguments[3];
  arguments[0] = nullptr;
  if (job->error == 0) {
    napi_get_null(env, &arguments[0]);
  } else {
    arguments[0] = MakeSystemError(env, job->error, "sendfile");
  }
  if (arguments[0] == nullptr || napi_get_undefined(env, &receiver) != napi_ok ||
      napi_create_double(env, static_cast<double>(job->sent), &arguments[1]) != napi_ok ||
      napi_get_boolean(env, job->would_block, &arguments[2]) != napi_ok) {
    return;
  }
  // Node.js turns an exception that is pending when this returns into an uncaughtException.
  napi_call_function(env, receiver, callback, 3, arguments, nullptr);
}

SysResult Duplicate(int fd, UniqueFd* duplicate) {
  duplicate->Reset(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return duplicate->Valid() ? SysResult::Ok() : SysResult::Errno("fcntl");
}

SysResult MakeNonblocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) != 0) return SysResult::Ok();
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return SysResult::Errno("fcntl");
  return SysResult::Ok();
}

}  // namespace

SysResult StartSendfile(napi_env env, int out_fd, int in_fd, uint64_t offset, uint64_t length, napi_value callback) {
  auto job = std::make_unique<Job>();
  job->offset = offset;
  job->length = length;
  for (const SysResult& step :
       {Duplicate(out_fd, &job->out), Duplicate(in_fd, &job->in), MakeNonblocking(job->out.Get())}) {
    if (step.Failed()) return step;
  }
  napi_value name;
  if (napi_create_string_utf8(env, "fdpass.sendfile", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_reference(env, callback, 1, &job->callback) != napi_ok) {
    return SysResult::Error(ECANCELED, "sendfile");
  }
  if (napi_create_async_work(env, nullptr, name, Execute, Complete, job.get(), &job->work) != napi_ok) {
    napi_delete_reference(env, job->callback);
    return SysResult::Error(ECANCELED, "sendfile");
  }
  jobs.fetch_add(1, std::memory_order_relaxed);
  if (napi_queue_async_work(env, job->work) != napi_ok) {
    jobs.fetch_sub(1, std::memory_order_relaxed);
    napi_delete_async_work(env, job->work);
    napi_delete_reference(env, job->callback);
    return SysResult::Error(ECANCELED, "sendfile");
  }
  job.release();
  return SysResult::Ok();
}

}  // namespace fdpass
