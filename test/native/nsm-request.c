/*
 * Drives enclave/native/nsm-request.c with a device of its own, under sanitizers: every length that a driver could report,
 * every errno, every length of request. The buffers have exactly the sizes that are promised, so that a byte too far is
 * a finding.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../enclave/native/nsm-request.h"

static uint64_t reported_length;
static int device_result;
static int calls;
static struct nsm_raw seen;

static int device(int fd, struct nsm_raw *raw) {
  assert(fd == 42);
  calls += 1;
  seen = *raw;
  if (device_result < 0) return device_result;
  /* As the driver: what fits is copied, and how much there was is reported. */
  const uint64_t room = raw->response_length;
  memset((void *)(uintptr_t)raw->response_address, 0xa5, reported_length < room ? reported_length : room);
  raw->response_length = reported_length;
  return 0;
}

static int ask(size_t request_length) {
  uint8_t *request = malloc(request_length > 0 ? request_length : 1), *response = malloc(NSM_MAX_RESPONSE_BYTES);
  assert(request != NULL && response != NULL);
  memset(request, 0x5a, request_length);
  calls = 0;
  int result = nsm_request(device, 42, request, request_length, response);
  if (result > 0) {
    assert(response[0] == 0xa5 && response[result - 1] == 0xa5);
    assert(seen.request_address == (uintptr_t)request && seen.request_length == request_length);
    assert(seen.response_address == (uintptr_t)response);
  }
  free(request);
  free(response);
  return result;
}

int main(void) {
  static const uint64_t HOSTILE[] = {0,
                                     NSM_MAX_RESPONSE_BYTES + 1,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000001,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0xffffffffffffffff};
  static const uint64_t FAIR[] = {1, 2, 0xff, 0x100, 0x1000, 0x2fff, NSM_MAX_RESPONSE_BYTES};
  static const int ERRORS[] = {EINTR, EMSGSIZE, ETIMEDOUT, EINVAL, EFAULT, ENOTTY, EIO};
  for (size_t index = 0; index < sizeof FAIR / sizeof FAIR[0]; index += 1) {
    reported_length = FAIR[index];
    assert(ask(10) == (int)FAIR[index]);
    assert(seen.response_length == NSM_MAX_RESPONSE_BYTES);
  }
  for (size_t index = 0; index < sizeof HOSTILE / sizeof HOSTILE[0]; index += 1) {
    reported_length = HOSTILE[index];
    assert(ask(10) == -EBADMSG);
  }
  reported_length = 1;
  for (size_t length = 0; length <= NSM_MAX_REQUEST_BYTES + 16; length += 1) {
    const int is_fair = length > 0 && length <= NSM_MAX_REQUEST_BYTES;
    assert(ask(length) == (is_fair ? 1 : -EMSGSIZE));
    assert(calls == is_fair); /* what is refused does not reach the device */
  }
  for (size_t index = 0; index < sizeof ERRORS / sizeof ERRORS[0]; index += 1) {
    device_result = -ERRORS[index];
    assert(ask(10) == -ERRORS[index]);
    assert(calls == 1); /* and what failed is not made again here */
  }
  printf("passed\n");
  return 0;
}
