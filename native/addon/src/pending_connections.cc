// See pending_connections.h.
#include "pending_connections.h"

#include <cstdint>
#include <iterator>
#include <utility>

namespace fdpass {

Connection& PendingConnections::Add(UniqueFd fd, const ucred& peer, uint64_t deadline_ms) {
  do {
    last_id_ = last_id_ == INT32_MAX ? 1 : last_id_ + 1;
  } while (by_id_.count(last_id_) != 0);
  waiting_.emplace_back();
  Connection& connection = waiting_.back();
  connection.id = last_id_;
  connection.fd = std::move(fd);
  connection.peer = peer;
  connection.deadline_ms = deadline_ms;
  by_id_.emplace(last_id_, std::prev(waiting_.end()));
  return connection;
}

Connection* PendingConnections::Find(int32_t id) {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &*found->second;
}

UniqueFd PendingConnections::Remove(Connection& connection) {
  const auto found = by_id_.find(connection.id);
  const List::iterator position = found->second;
  UniqueFd fd = std::move(connection.fd);
  List& list = connection.expired ? expired_ : waiting_;
  by_id_.erase(found);
  list.erase(position);
  return fd;
}

Connection* PendingConnections::FirstWaiting() { return waiting_.empty() ? nullptr : &waiting_.front(); }

Connection* PendingConnections::NextWaiting(const Connection& connection) {
  const auto next = std::next(by_id_.find(connection.id)->second);
  return next == waiting_.end() ? nullptr : &*next;
}

void PendingConnections::SetExpired(Connection& connection) {
  if (connection.expired) return;
  connection.expired = true;
  expired_.splice(expired_.end(), waiting_, by_id_.find(connection.id)->second);
}

void PendingConnections::SetFailed(Connection& connection, int error) {
  connection.error = error;
  connection.deadline_ms = 0;
  if (connection.expired) return;
  waiting_.splice(waiting_.begin(), waiting_, by_id_.find(connection.id)->second);
}

void PendingConnections::Clear() {
  by_id_.clear();
  waiting_.clear();
  expired_.clear();
}

}  // namespace fdpass
