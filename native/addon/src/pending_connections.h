// The accepted connections of one listener that JavaScript has not closed or detached, found by id and by age. Owns them.
#ifndef FDPASS_PENDING_CONNECTIONS_H_
#define FDPASS_PENDING_CONNECTIONS_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

#include "unique_fd.h"

namespace fdpass {

struct Connection {
  int32_t id = 0;
  UniqueFd fd;
  ucred peer = {};
  uint64_t deadline_ms = 0;  // in the loop's time
  bool armed = false;        // a member of the listener's epoll
  bool ended = false;        // its end or error was reported: nothing more will come
  bool expired = false;      // its deadline was reported
  int error = 0;             // an errno that is still to be reported
};

class PendingConnections {
 public:
  PendingConnections() = default;
  PendingConnections(const PendingConnections&) = delete;
  PendingConnections& operator=(const PendingConnections&) = delete;

  // Takes `fd`. Deadlines must be added in order: the timeout of a listener is one constant. Ids come back after 2^31 of them,
  // so a stale id finds nothing.
  Connection& Add(UniqueFd fd, const ucred& peer, uint64_t deadline_ms);

  Connection* Find(int32_t id);

  // Returns ownership.
  UniqueFd Remove(Connection& connection);

  // In the order of their deadlines, those whose deadline was not reported: the first and the one after `connection`.
  Connection* FirstWaiting();
  Connection* NextWaiting(const Connection& connection);

  // Its deadline is being reported: it waits no longer, only for JavaScript to close it.
  void SetExpired(Connection& connection);

  // Makes it the first one due, with an error to report.
  void SetFailed(Connection& connection, int error);

  void Clear();
  size_t size() const { return by_id_.size(); }

 private:
  using List = std::list<Connection>;

  List waiting_;
  List expired_;
  std::unordered_map<int32_t, List::iterator> by_id_;
  int32_t last_id_ = 0;
};

}  // namespace fdpass

#endif  // FDPASS_PENDING_CONNECTIONS_H_
