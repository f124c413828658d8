/*
 * The NSM's device for Node: request(fd, bytes) gives one request to the device on a thread of libuv's pool and
 * promises the response's bytes, or a negated errno. CBOR, order and repetition are enclave/nsm/nsm-device.ts's.
 */
#define NAPI_VERSION 8

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "nsm-request.h"

typedef struct {
  napi_async_work work;
  napi_deferred deferred;
  int fd;
  int result;
  size_t request_length;
  uint8_t request[NSM_MAX_REQUEST_BYTES];
  uint8_t response[NSM_MAX_RESPONSE_BYTES];
} pending_request;

static void run(napi_env env, void *data) {
  (void)env;
  pending_request *pending = data;
  pending->result = nsm_request(nsm_device_call, pending->fd, pending->request, pending->request_length, pending->response);
}

static void complete(napi_env env, napi_status status, void *data) {
  pending_request *pending = data;
  napi_value value = NULL;
  int result = status == napi_ok ? pending->result : -ECANCELED;
  /* While the environment ends nothing can be created or resolved, and nobody waits any more. */
  napi_status made = result < 0 ? napi_create_int32(env, result, &value)
                                : napi_create_buffer_copy(env, (size_t)result, pending->response, NULL, &value);
  if (made == napi_ok) napi_resolve_deferred(env, pending->deferred, value);
  napi_delete_async_work(env, pending->work);
  /* Random bytes, and documents over keys. */
  explicit_bzero(pending, sizeof *pending);
  free(pending);
}

static napi_value request(napi_env env, napi_callback_info info) {
  size_t count = 2, length = 0;
  napi_value values[2], promise, name;
  napi_typedarray_type type;
  void *bytes = NULL;
  int32_t fd = -1;
  bool is_typed_array = false;
  if (napi_get_cb_info(env, info, &count, values, NULL, NULL) != napi_ok || count != 2 ||
      napi_get_value_int32(env, values[0], &fd) != napi_ok ||
      napi_is_typedarray(env, values[1], &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, values[1], &type, &length, &bytes, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || length == 0 || length > NSM_MAX_REQUEST_BYTES) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "nsm addon: expected a descriptor and 1 to 4096 bytes");
    return NULL;
  }
  pending_request *pending = calloc(1, sizeof *pending);
  if (pending == NULL) {
    napi_throw_error(env, NULL, "nsm addon: no memory");
    return NULL;
  }
  pending->fd = fd;
  pending->request_length = length;
  memcpy(pending->request, bytes, length);
  if (napi_create_promise(env, &pending->deferred, &promise) != napi_ok) goto failed;
  if (napi_create_string_utf8(env, "nsm", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, NULL, name, run, complete, pending, &pending->work) != napi_ok) {
    goto failed;
  }
  if (napi_queue_async_work(env, pending->work) != napi_ok) {
    napi_delete_async_work(env, pending->work);
    goto failed;
  }
  return promise;

failed:
  free(pending);
  napi_throw_error(env, NULL, "nsm addon: the request could not be queued");
  return NULL;
}

NAPI_MODULE_INIT(/* env, exports */) {
  napi_value function;
  if (napi_create_function(env, "request", NAPI_AUTO_LENGTH, request, NULL, &function) != napi_ok ||
      napi_set_named_property(env, exports, "request", function) != napi_ok) {
    return NULL;
  }
  return exports;
}
