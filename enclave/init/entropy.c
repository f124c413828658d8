/* Randomness from the NSM, before anything makes a key. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <linux/random.h>

#include "../native/nsm-request.h"
#include "parse.h"

/* 8 times 256 bytes, as other enclaves' inits do; the kernel's pool needs 32. */
enum { ROUNDS = 8, LEAST_BYTES = 32, MAX_ATTEMPTS = 5 };

/* linux/random.h, struct rand_pool_info, with room for what the NSM gives. */
struct pool_input {
  int entropy_bits;
  int size_bytes;
  uint8_t bytes[MAX_RANDOM_BYTES];
};

static size_t get_random(int nsm, uint8_t *response, const uint8_t **random) {
  int length = -EINTR;
  /* It changes nothing, so an interrupted one is made again. */
  for (int attempt = 0; attempt < MAX_ATTEMPTS && length == -EINTR; attempt += 1) {
    length = nsm_request(nsm_device_call, nsm, GET_RANDOM_REQUEST, sizeof GET_RANDOM_REQUEST, response);
  }
  if (length < 0) die(-length, "GetRandom");
  size_t count = parse_random(response, (size_t)length, random);
  if (count < LEAST_BYTES) die(0, "GetRandom: the NSM answered no random bytes");
  return count;
}

/* Says which source the kernel itself reads; the credit below does not depend on it. */
static void say_hwrng(void) {
  char name[64];
  int fd = open("/sys/class/misc/hw_random/rng_current", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, name, sizeof name - 1);
  if (fd >= 0) close(fd);
  if (length <= 0) {
    say("hwrng none");
    return;
  }
  name[length] = '\0';
  name[strcspn(name, "\n")] = '\0';
  say("hwrng %s", name);
}

/*
 * Credits the kernel with the NSM's bytes, or ends the enclave: without them Node's keys would rest on a processor
 * instruction alone, or on nothing. Mixed in by the kernel, never used raw.
 */
void seed_kernel(void) {
  static uint8_t response[NSM_MAX_RESPONSE_BYTES];
  static struct pool_input input;
  static uint8_t previous[MAX_RANDOM_BYTES];
  const uint8_t *random = NULL;
  size_t previous_count = 0;
  int nsm = open("/dev/nsm", O_RDWR | O_CLOEXEC);
  if (nsm < 0) die(errno, "open /dev/nsm");
  int kernel = open("/dev/random", O_WRONLY | O_CLOEXEC);
  if (kernel < 0) die(errno, "open /dev/random");
  for (int round = 0; round < ROUNDS; round += 1) {
    size_t count = get_random(nsm, response, &random);
    if (count == previous_count && memcmp(random, previous, count) == 0) die(0, "GetRandom: the same bytes twice");
    memcpy(previous, random, count);
    previous_count = count;
    memcpy(input.bytes, random, count);
    input.size_bytes = (int)count;
    input.entropy_bits = (int)count * 8;
    if (ioctl(kernel, RNDADDENTROPY, &input) != 0) die(errno, "RNDADDENTROPY");
  }
  close(kernel);
  close(nsm);
  explicit_bzero(response, sizeof response);
  explicit_bzero(&input, sizeof input);
  explicit_bzero(previous, sizeof previous);
  uint8_t byte;
  if (getrandom(&byte, 1, GRND_NONBLOCK) != 1) die(errno, "the kernel's generator is not ready");
  say_hwrng();
}
