// The accepted connections of one listener that JavaScript has not closed or detached, found by id and by age: those that wait for
// their message, and the channels among them, which it keeps. Owns them.
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
  enum class Place { kWaiting, kIdle, kExpired };

  int32_t id = 0;
  UniqueFd fd;
  ucred peer = {};
  uint64_t deadline_ms = 0;  // in the loop's time, while it waits
  bool armed = false;        // a member of the listener's epoll
  bool ended = false;        // its end or error was reported: nothing more will come
  bool channel = false;      // kept for many messages: not one of those that wait for their only one
  int late_looks = 0;        // how often it was looked at past its deadline
  int error = 0;             // an errno that is still to be reported
  Place place = Place::kWaiting;
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

  // Makes it a channel, and lets it wait without a deadline.
  void Keep(Connection& connection);

  // Lets it wait for the rest of a message; deadlines in order, as for Add.
  void Expect(Connection& connection, uint64_t deadline_ms);

  // Its deadline is being reported: it waits no longer, only for JavaScript to close it.
  void SetExpired(Connection& connection);

  // Makes it the first one due, with an error to report.
  void SetFailed(Connection& connection, int error);

  void Clear();
  size_t channels() const { return channels_; }
  size_t pending() const { return by_id_.size() - channels_; }

 private:
  using List = std::list<Connection>;

  List& ListOf(Connection::Place place) { return lists_[static_cast<size_t>(place)]; }
  void Move(Connection& connection, Connection::Place place, bool first = false);

  // By place: those with a deadline, in that order; channels between two messages; those whose deadline was reported.
  List lists_[3];
  std::unordered_map<int32_t, List::iterator> by_id_;
  size_t channels_ = 0;
  int32_t last_id_ = 0;
};

}  // namespace fdpass

#endif  // FDPASS_PENDING_CONNECTIONS_H_
