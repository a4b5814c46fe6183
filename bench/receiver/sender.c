// The load of the receiver's benchmark: passes one descriptor again and again, with the message in a file, and counts what is taken.
// It keeps so many handovers under way that the receiver never waits for it, and does nothing else.
//
//   sender PATH MESSAGE_FILE each|kept WINDOW SECONDS
//
// `each`: a connection for each handover. `kept`: all on one connection (a channel). Prints "HANDOVERS SECONDS". Exit codes: 0, 1 it
// failed (standard error says why), 3 `kept`, and the receiver keeps no connection.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

enum { MAX_WINDOW = 256, KEEPS_NONE = 3 };

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char message[MAX_MESSAGE_BYTES];
static size_t message_bytes;
static int client;
static double end_at;

static void fail(const char *what) {
  fprintf(stderr, "sender: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int connect_to_receiver(void) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  return fd;
}

static void send_message(int connection) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec part = {.iov_base = message, .iov_len = message_bytes};
  struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(rights), &client, sizeof client);
  if (sendmsg(connection, &head, MSG_NOSIGNAL) != (ssize_t)message_bytes) fail("sendmsg");
}

/* At least one answer; all must be `expected`. */
static long receive_answers(int connection, unsigned char expected) {
  unsigned char answers[MAX_ANSWERS];
  const ssize_t count = recv(connection, answers, sizeof answers, 0);
  if (count < 0) fail("recv");
  if (count == 0) {
    fprintf(stderr, "sender: the receiver closed the connection without an answer\n");
    exit(1);
  }
  for (ssize_t i = 0; i < count; i++) {
    if (answers[i] == expected) continue;
    if (answers[i] == TAKEN) exit(KEEPS_NONE);
    fprintf(stderr, "sender: the receiver answered 0x%02x\n", answers[i]);
    exit(1);
  }
  return count;
}

static long pass_each(int window) {
  int connections[MAX_WINDOW];
  long begun = 0;
  long taken = 0;
  for (;;) {
    const int more = seconds_now() < end_at;
    if (more) {
      const int fd = connect_to_receiver();
      send_message(fd);
      connections[begun++ % window] = fd;
    }
    if (begun - taken < window && more) continue;
    if (begun == taken) return taken;
    const int oldest = connections[taken % window];
    receive_answers(oldest, TAKEN);
    close(oldest);
    taken++;
  }
}

static long pass_kept(int window) {
  const int channel = connect_to_receiver();
  send_message(channel);
  long sent = 1;
  long taken = receive_answers(channel, TAKEN_KEPT);
  for (;;) {
    if (seconds_now() < end_at) {
      for (; sent - taken < window; sent++) send_message(channel);
    }
    if (sent == taken) break;
    taken += receive_answers(channel, TAKEN_KEPT);
  }
  close(channel);
  return taken;
}

static void read_message(const char *file) {
  FILE *stream = fopen(file, "rb");
  if (stream == NULL) fail(file);
  message_bytes = fread(message, 1, sizeof message, stream);
  fclose(stream);
}

int main(int argc, char **argv) {
  if (argc != 6 || strlen(argv[1]) >= sizeof address.sun_path) {
    fprintf(stderr, "usage: sender PATH MESSAGE_FILE each|kept WINDOW SECONDS\n");
    return 1;
  }
  strcpy(address.sun_path, argv[1]);
  read_message(argv[2]);
  const int window = atoi(argv[4]);
  if (window < 1 || window > MAX_WINDOW) return 1;
  /* Stands for the client: a connected stream socket, as receivers ask for. */
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail("socketpair");
  client = pair[0];

  const double started_at = seconds_now();
  end_at = started_at + atof(argv[5]);
  const long taken = strcmp(argv[3], "kept") == 0 ? pass_kept(window) : pass_each(window);
  printf("%ld %.6f\n", taken, seconds_now() - started_at);
  return 0;
}
