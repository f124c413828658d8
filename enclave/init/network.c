/* Loopback, and the heartbeat that tells which CID is the parent's. */
#include "init.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/vm_sockets.h>

/* The kernel gives lo its address, 127.0.0.1/8, when it goes up. */
void loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die(errno, "open a socket for lo");
  if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) die(errno, "read the flags of lo");
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) die(errno, "bring lo up");
  close(fd);
}

/* nitro-cli listens there while an enclave starts, and sends back the byte (nitro-cli, ENCLAVE_READY_VSOCK_PORT). */
enum { HEARTBEAT_PORT = 9000, HEARTBEAT_BYTE = 0xb7 };
enum { DEADLINE_MS = 30000, RETRY_MS = 250 };

struct attempt {
  uint32_t cid;
  int fd; /* -1 between tries */
  int is_sent;
  int64_t next_try_ms;
  int last_error;
};

static void fail(struct attempt *attempt, int error) {
  if (attempt->fd >= 0) close(attempt->fd);
  attempt->fd = -1;
  attempt->last_error = error;
  attempt->next_try_ms = now_ms() + RETRY_MS;
}

static void begin(struct attempt *attempt) {
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = attempt->cid, .svm_port = HEARTBEAT_PORT};
  attempt->is_sent = 0;
  attempt->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (attempt->fd < 0 ||
      (connect(attempt->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)) {
    fail(attempt, errno);
  }
}

/* True when the byte has come back. */
static int proceed(struct attempt *attempt) {
  uint8_t byte = HEARTBEAT_BYTE;
  if (!attempt->is_sent) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
    if (error == 0 && send(attempt->fd, &byte, 1, MSG_NOSIGNAL) != 1) error = errno;
    if (error != 0) fail(attempt, error);
    else attempt->is_sent = 1;
    return 0;
  }
  ssize_t count = recv(attempt->fd, &byte, 1, 0);
  if (count == 1 && byte == HEARTBEAT_BYTE) return 1;
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  fail(attempt, count < 0 ? errno : EPROTO);
  return 0;
}

/*
 * 3 on EC2, 2 where vhost-device-vsock stands for the hypervisor: both at once, and the first to echo is the parent.
 * The parent is not trusted, so a choice that an attacker decides gives them nothing.
 */
uint32_t find_parent(void) {
  struct attempt attempts[] = {{.cid = 3, .fd = -1}, {.cid = VMADDR_CID_HOST, .fd = -1}};
  enum { COUNT = sizeof attempts / sizeof attempts[0] };
  const int64_t deadline = now_ms() + DEADLINE_MS;
  for (int64_t now = now_ms(); now < deadline; now = now_ms()) {
    struct pollfd polls[COUNT];
    int64_t wake = deadline;
    for (size_t index = 0; index < COUNT; index += 1) {
      struct attempt *attempt = &attempts[index];
      if (attempt->fd < 0 && now >= attempt->next_try_ms) begin(attempt);
      if (attempt->fd < 0 && attempt->next_try_ms < wake) wake = attempt->next_try_ms;
      polls[index] = (struct pollfd){.fd = attempt->fd, .events = attempt->is_sent ? POLLIN : POLLOUT};
    }
    int64_t wait = wake > now ? wake - now : 0;
    if (poll(polls, COUNT, (int)wait) < 0 && errno != EINTR) die(errno, "poll for the heartbeat");
    for (size_t index = 0; index < COUNT; index += 1) {
      if (attempts[index].fd < 0 || polls[index].revents == 0 || !proceed(&attempts[index])) continue;
      const uint32_t cid = attempts[index].cid;
      for (size_t other = 0; other < COUNT; other += 1) {
        if (attempts[other].fd >= 0) close(attempts[other].fd);
      }
      return cid;
    }
  }
  for (size_t index = 0; index < COUNT; index += 1) {
    int error = attempts[index].last_error;
    say("CID %u, port %d: %s", attempts[index].cid, HEARTBEAT_PORT, error == 0 ? "no answer" : strerror(error));
  }
  die(0, "no parent answered the heartbeat within %d s", DEADLINE_MS / 1000);
}
