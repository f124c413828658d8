/* What the addons for keys read from JavaScript: byte arrays, where JavaScript holds them, so that no secret is copied. */
#ifndef CLOISTER_ARGUMENTS_H
#define CLOISTER_ARGUMENTS_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
  uint8_t *data;
  size_t length;
};

enum { MAX_ARGUMENTS = 5 };

/* A Uint8Array (or a Buffer, which is one), also over memory that is shared; no other view, and not a detached one. */
static inline bool bytes_of(napi_env env, napi_value value, struct bytes *out) {
  bool is_typed_array = false;
  napi_typedarray_type type;
  void *data = NULL;
  size_t length = 0;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array) return false;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok) return false;
  if (type != napi_uint8_array) return false;
  *out = (struct bytes){data, length};
  return true;
}

static inline bool arguments_of(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  return count <= MAX_ARGUMENTS && napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given == count;
}

/* Exactly `count` byte arrays; their lengths are the caller's to check. */
static inline bool byte_arguments(napi_env env, napi_callback_info info, size_t count, struct bytes *out) {
  napi_value values[MAX_ARGUMENTS];
  if (!arguments_of(env, info, count, values)) return false;
  for (size_t i = 0; i < count; i++) {
    if (!bytes_of(env, values[i], &out[i])) return false;
  }
  return true;
}

/* `null` gives no address. An array without bytes is refused: it may have no address either, and is not `null`. */
static inline bool bytes_or_null_of(napi_env env, napi_value value, struct bytes *out) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) != napi_ok) return false;
  *out = (struct bytes){NULL, 0};
  return type == napi_null || (bytes_of(env, value, out) && out->length > 0);
}

/* A whole number from 0 to `most`; what napi_get_value_int32 would make one of is none. */
static inline bool small_number_of(napi_env env, napi_value value, int most, int *out) {
  double number = -1;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0 && number <= most)) return false;
  *out = (int)number;
  return (double)*out == number;
}

static inline napi_value wrong_arguments(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

static inline napi_value boolean(napi_env env, bool value) {
  napi_value result = NULL;
  return napi_get_boolean(env, value, &result) == napi_ok ? result : NULL;
}

#endif
