// Whether there is room in the descriptor table. With a full table recvmsg would deliver the bytes and *lose* the descriptor
// (MSG_CTRUNC), so nothing may be received before this says there is room.
#ifndef FDPASS_DESCRIPTOR_ROOM_H_
#define FDPASS_DESCRIPTOR_ROOM_H_

namespace fdpass {

class DescriptorRoom {
 public:
  // `min_free`: numbers below the soft RLIMIT_NOFILE that accepting leaves to the rest of the process; half of the limit at most,
  // or nothing would ever be accepted under a low one.
  explicit DescriptorRoom(int min_free) : min_free_(min_free) {}

  // A descriptor to duplicate when only trying tells. Borrowed.
  void SetProbe(int fd) { probe_ = fd; }

  // Counts the free numbers at the top of the table, in two system calls. Once per wake-up.
  void Measure();

  // The kernel gave out `fd`, the lowest free number. Numbers below the measured zone cost nothing.
  void Took(int fd);

  bool ForMessage() const;     // for what one recvmsg may install
  bool ForConnection() const;  // for an accepted connection and its message

  // A number this high means that accepting must pause.
  bool IsTight(int fd) const;

  // Whether the lowest free number is low enough again.
  bool HasHeadroom() const;

 private:
  bool Has(int count) const;

  int min_free_;
  int probe_ = -1;
  int limit_ = 0;
  int zone_begin_ = 0;
  int free_in_zone_ = 0;
};

}  // namespace fdpass

#endif  // FDPASS_DESCRIPTOR_ROOM_H_
