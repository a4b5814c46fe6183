// The system calls of our receiver, and nothing between them: accept4 and the sender's credentials, recvmsg, what kind of socket has
// come, the answer, and both descriptors closed. It reads no message: each recvmsg is taken for one. What ours is measured against.
//
//   receiver PATH each|kept
//
// `kept`: connections stay open, and what has come on one in a wake-up is answered in one send. Ends by a signal.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire.h"

enum { MAX_EVENTS = 64, BACKLOG = 511 };

static int poller;
static int keeps;

static void fail(const char *what) {
  fprintf(stderr, "receiver: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* The descriptor goes into `passed`, -1 if none came. */
static ssize_t receive_message(int connection, int *passed) {
  static char message[MAX_MESSAGE_BYTES];
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec part = {.iov_base = message, .iov_len = sizeof message};
  struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
  const ssize_t bytes = recvmsg(connection, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  const struct cmsghdr *rights = bytes > 0 ? CMSG_FIRSTHDR(&head) : NULL;
  *passed = -1;
  if (rights != NULL && rights->cmsg_type == SCM_RIGHTS) memcpy(passed, CMSG_DATA(rights), sizeof *passed);
  return bytes;
}

/* A connected stream socket; of the families that ours asks about, and by the same calls. */
static int is_connected_stream(int descriptor) {
  struct sockaddr_storage peer;
  socklen_t length = sizeof peer;
  int type = 0;
  socklen_t type_length = sizeof type;
  return getpeername(descriptor, (struct sockaddr *)&peer, &length) == 0 &&
         getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &type_length) == 0 && type == SOCK_STREAM;
}

/* @returns whether the connection stays open */
static int serve(int connection) {
  unsigned char answers[MAX_ANSWERS];
  int passed[MAX_ANSWERS];
  int count = 0;
  int stays = 1;
  while (count < MAX_ANSWERS && stays) {
    const ssize_t bytes = receive_message(connection, &passed[count]);
    if (bytes < 0 && errno == EAGAIN) break;
    if (bytes <= 0 || passed[count] < 0 || !is_connected_stream(passed[count])) return 0;
    answers[count++] = keeps ? TAKEN_KEPT : TAKEN;
    stays = keeps;
  }
  if (count > 0 && send(connection, answers, (size_t)count, MSG_NOSIGNAL | MSG_DONTWAIT) != count) stays = 0;
  for (int i = 0; i < count; i++) close(passed[i]);
  return stays;
}

static void accept_all(int listening) {
  for (;;) {
    const int connection = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      fail("accept4");
    }
    struct ucred sender;
    socklen_t length = sizeof sender;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &sender, &length) != 0) fail("getsockopt");
    /* The message is often there already: only what stays open is polled. */
    if (!serve(connection)) {
      close(connection);
      continue;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = connection};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, connection, &event) != 0) fail("epoll_ctl");
  }
}

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) {
    fprintf(stderr, "usage: receiver PATH each|kept\n");
    return 1;
  }
  strcpy(address.sun_path, argv[1]);
  keeps = strcmp(argv[2], "kept") == 0;
  const int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (bind(listening, (struct sockaddr *)&address, sizeof address) != 0) fail("bind");
  if (listen(listening, BACKLOG) != 0) fail("listen");
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event accepting = {.events = EPOLLIN, .data.fd = listening};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, listening, &accepting) != 0) fail("epoll_ctl");
  for (;;) {
    struct epoll_event events[MAX_EVENTS];
    const int count = epoll_wait(poller, events, MAX_EVENTS, -1);
    if (count < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < count; i++) {
      const int fd = events[i].data.fd;
      if (fd == listening) accept_all(listening);
      else if (!serve(fd)) close(fd);
    }
  }
}
