/* One request to the NSM's device, apart from Node so that a test can drive it with a device of its own. */
#ifndef CLOISTER_NSM_REQUEST_H
#define CLOISTER_NSM_REQUEST_H

#include <stddef.h>
#include <stdint.h>

/* The driver refuses longer requests (Linux, drivers/misc/nsm.c: NSM_REQUEST_MAX_SIZE). */
enum { NSM_MAX_REQUEST_BYTES = 0x1000 };
/* No response is longer (same file: NSM_RESPONSE_MAX_SIZE). */
enum { NSM_MAX_RESPONSE_BYTES = 0x3000 };

/* As in linux/nsm.h, which older headers lack. */
struct nsm_raw {
  uint64_t request_address;
  uint64_t request_length;
  uint64_t response_address;
  uint64_t response_length; /* in: the room there is; out: how long the response is */
};

/* ioctl, or a test's: 0, or a negated errno. */
typedef int nsm_call(int fd, struct nsm_raw *raw);

/* The call to the real device. */
int nsm_device_call(int fd, struct nsm_raw *raw);

/*
 * Gives the request to the device; `response` has room for NSM_MAX_RESPONSE_BYTES.
 *
 * Returns the response's length, or a negated errno: EMSGSIZE for a request that is empty or too long, EBADMSG for a
 * response that is empty or does not fit (it was cut off), and what the device says. EINTR is passed on: whether the
 * request may be made again depends on what it asks, which is not known here.
 */
int nsm_request(nsm_call *call, int fd, const uint8_t *request, size_t request_length, uint8_t *response);

#endif
