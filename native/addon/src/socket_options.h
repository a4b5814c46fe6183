// Options and counters of a borrowed socket, and the limits on descriptors.
#ifndef FDPASS_SOCKET_OPTIONS_H_
#define FDPASS_SOCKET_OPTIONS_H_

#include <cstdint>
#include <string>

#include "system_error.h"

namespace fdpass {

// Options whose value is an int.
SysResult GetOption(int fd, int level, int name);
SysResult SetOption(int fd, int level, int name, int value);

// The head of the kernel's struct tcp_info (linux/tcp.h) as of Linux 4.19. Declared here because the header on the machine that
// builds may be older, or clash with netinet/tcp.h; the layout is the kernel's ABI and only grows at the end.
struct TcpInfo {
  uint8_t state, ca_state, retransmits, probes, backoff, options, window_scales, flags;
  uint32_t rto, ato, snd_mss, rcv_mss;
  uint32_t unacked, sacked, lost, retrans, fackets;
  uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
  uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
  uint32_t rcv_rtt, rcv_space, total_retrans;
  uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
  uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
  uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
  uint32_t delivered, delivered_ce;
  uint64_t bytes_sent, bytes_retrans;
};

// What an older kernel does not fill stays 0.
SysResult ReadTcpInfo(int fd, TcpInfo* info);

// Bytes received, and bytes sent or still to be sent, each once; nothing is written on failure.
SysResult ReadTcpBytes(int fd, double* received, double* sent);

// The upper layer protocol ("tls"); empty for none, also on a socket that is not TCP.
SysResult ReadTcpUlp(int fd, std::string* name);

SysResult ReadQueueBytes(int fd);
SysResult WriteQueueBytes(int fd);

struct DescriptorLimits {
  double soft = 0;  // infinity is possible
  double hard = 0;
};
SysResult ReadDescriptorLimits(DescriptorLimits* limits);

}  // namespace fdpass

#endif  // FDPASS_SOCKET_OPTIONS_H_
