#include "nsm-request.h"

#include <errno.h>
#include <sys/ioctl.h>

_Static_assert(sizeof(struct nsm_raw) == 32, "the kernel's struct nsm_raw has 32 bytes");
#define NSM_IOCTL_RAW _IOWR(0x0A, 0x0, struct nsm_raw)
_Static_assert(NSM_IOCTL_RAW == 0xC0200A00, "the number that linux/nsm.h gives");

int nsm_device_call(int fd, struct nsm_raw *raw) {
  return ioctl(fd, NSM_IOCTL_RAW, raw) == 0 ? 0 : -errno;
}

int nsm_request(nsm_call *call, int fd, const uint8_t *request, size_t request_length, uint8_t *response) {
  if (request_length == 0 || request_length > NSM_MAX_REQUEST_BYTES) return -EMSGSIZE;
  struct nsm_raw raw = {
      .request_address = (uintptr_t)request,
      .request_length = request_length,
      .response_address = (uintptr_t)response,
      .response_length = NSM_MAX_RESPONSE_BYTES,
  };
  int result = call(fd, &raw);
  if (result < 0) return result;
  /* The driver copies what fits and reports how much there was: more than fits means that the rest is missing. */
  if (raw.response_length == 0 || raw.response_length > NSM_MAX_RESPONSE_BYTES) return -EBADMSG;
  return (int)raw.response_length;
}
