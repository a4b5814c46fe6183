// See pending_connections.h.
#include "pending_connections.h"

#include <cstdint>
#include <iterator>
#include <utility>

namespace fdpass {

using Place = Connection::Place;

Connection& PendingConnections::Add(UniqueFd fd, const ucred& peer, uint64_t deadline_ms) {
  do {
    last_id_ = last_id_ == INT32_MAX ? 1 : last_id_ + 1;
  } while (by_id_.count(last_id_) != 0);
  List& waiting = ListOf(Place::kWaiting);
  waiting.emplace_back();
  Connection& connection = waiting.back();
  connection.id = last_id_;
  connection.fd = std::move(fd);
  connection.peer = peer;
  connection.deadline_ms = deadline_ms;
  by_id_.emplace(last_id_, std::prev(waiting.end()));
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
  if (connection.channel) channels_--;
  by_id_.erase(found);
  ListOf(position->place).erase(position);
  return fd;
}

Connection* PendingConnections::FirstWaiting() {
  List& waiting = ListOf(Place::kWaiting);
  return waiting.empty() ? nullptr : &waiting.front();
}

Connection* PendingConnections::NextWaiting(const Connection& connection) {
  const auto next = std::next(by_id_.find(connection.id)->second);
  return next == ListOf(Place::kWaiting).end() ? nullptr : &*next;
}

void PendingConnections::Move(Connection& connection, Place place, bool first) {
  List& to = ListOf(place);
  to.splice(first ? to.begin() : to.end(), ListOf(connection.place), by_id_.find(connection.id)->second);
  connection.place = place;
}

void PendingConnections::Keep(Connection& connection) {
  if (!connection.channel) channels_++;
  connection.channel = true;
  if (connection.error == 0) Move(connection, Place::kIdle);
}

void PendingConnections::Expect(Connection& connection, uint64_t deadline_ms) {
  if (connection.error != 0) return;
  connection.deadline_ms = deadline_ms;
  connection.late_looks = 0;
  Move(connection, Place::kWaiting);
}

void PendingConnections::SetExpired(Connection& connection) {
  if (connection.place == Place::kWaiting) Move(connection, Place::kExpired);
}

void PendingConnections::SetFailed(Connection& connection, int error) {
  connection.error = error;
  connection.deadline_ms = 0;
  if (connection.place != Place::kExpired) Move(connection, Place::kWaiting, true);
}

void PendingConnections::Clear() {
  by_id_.clear();
  for (List& list : lists_) list.clear();
  channels_ = 0;
}

}  // namespace fdpass
