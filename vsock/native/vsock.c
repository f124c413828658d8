/*
 * AF_VSOCK sockets for Node: what node:net does for TCP, in the few calls that vsock/socket-stream.ts and
 * vsock/socket-vsock.ts need. Sockets are non-blocking and watched by libuv on the caller's own event loop; every
 * decision (deadlines, backpressure, half-close, whose connections are served) is TypeScript's.
 *
 * A socket is a plain object, tagged and wrapped. Calls return a number: what they did, or a negated errno. Only a call
 * with arguments of another kind throws. While a socket is watched its object is held, and its `onReady` is called;
 * one that nobody watches or holds any more is closed when its object is collected.
 */
#define NAPI_VERSION 8

#include <errno.h>
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <linux/vm_sockets.h>

/* Kernels have corrupted vsock writes above 32 KiB. Stay well below, here, where no caller gets round it. */
enum { MAX_WRITE_BYTES = 30 * 1024 };

static const napi_type_tag SOCKET_TAG = {0x7d1c5a09e3b64f12, 0x9be0a4c2d85f7316};

/* One for each environment: the main thread, or a worker. */
typedef struct {
  napi_env env;
  uv_loop_t *loop;
  napi_async_cleanup_hook_handle exit_hook;
  bool is_exiting;
  size_t open_polls; /* uv handles whose close callback has not run yet */
  struct socket_state *sockets; /* those that are not closed */
} environment;

/* Held by two: the JavaScript object until it is collected, and libuv until the poll is closed. The last one frees. */
typedef struct socket_state {
  uv_poll_t poll;
  environment *owner;
  napi_ref object; /* weak, but strong while the socket is watched */
  int fd; /* -1 once closed */
  int watched; /* uv_poll_event bits */
  bool has_object;
  bool has_poll;
  struct socket_state *next, *previous;
} socket_state;

#ifdef CLOISTER_TEST
/* Over all threads: what is allocated and not freed. */
static _Atomic int64_t live_sockets;
#define COUNT_SOCKET(change) (live_sockets += (change))
#else
#define COUNT_SOCKET(change) ((void)0)
#endif

/* ------------------------------------------------------------------------------------------------ life of a socket */

static void release(socket_state *socket) {
  if (socket->has_object || socket->has_poll) return;
  free(socket);
  COUNT_SOCKET(-1);
}

static void finish_exit(environment *owner) {
  if (!owner->is_exiting || owner->open_polls > 0 || owner->exit_hook == NULL) return;
  napi_async_cleanup_hook_handle hook = owner->exit_hook;
  owner->exit_hook = NULL;
  napi_remove_async_cleanup_hook(hook);
}

static void on_poll_closed(uv_handle_t *handle) {
  socket_state *socket = handle->data;
  environment *owner = socket->owner;
  socket->has_poll = false;
  owner->open_polls -= 1;
  release(socket);
  finish_exit(owner);
}

static void set_watched(socket_state *socket, int events) {
  uint32_t count;
  if (events != 0 && socket->watched == 0) napi_reference_ref(socket->owner->env, socket->object, &count);
  if (events == 0 && socket->watched != 0) napi_reference_unref(socket->owner->env, socket->object, &count);
  socket->watched = events;
}

static void close_socket(socket_state *socket) {
  if (socket->fd < 0) return;
  environment *owner = socket->owner;
  if (socket->previous != NULL) socket->previous->next = socket->next;
  else owner->sockets = socket->next;
  if (socket->next != NULL) socket->next->previous = socket->previous;
  /* In this order: libuv must have forgotten the descriptor before its number can be given to another file. */
  uv_poll_stop(&socket->poll);
  uv_close((uv_handle_t *)&socket->poll, on_poll_closed);
  close(socket->fd);
  socket->fd = -1;
}

static void on_object_collected(napi_env env, void *data, void *hint) {
  (void)hint;
  socket_state *socket = data;
  napi_delete_reference(env, socket->object);
  socket->has_object = false;
  close_socket(socket);
  release(socket);
}

/* The environment waits for the polls to close: a worker whose loop still has handles would abort the process. */
static void on_exit_of_environment(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  environment *owner = data;
  owner->is_exiting = true;
  while (owner->sockets != NULL) close_socket(owner->sockets);
  finish_exit(owner);
}

static void free_environment(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  free(data);
}

/* ------------------------------------------------------------------------------------------------------ from and to JS */

static napi_value number(napi_env env, int64_t value) {
  napi_value result = NULL;
  napi_create_int64(env, value, &result);
  return result;
}

static napi_value wrong_arguments(napi_env env) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "vsock addon: an argument of another kind");
  return NULL;
}

/* Reads exactly `count` arguments. */
static bool arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values, environment **owner) {
  size_t given = count;
  return napi_get_cb_info(env, info, &given, values, NULL, (void **)owner) == napi_ok && given == count;
}

/* NULL where the value is no socket of ours. One that is closed is found too. */
static socket_state *socket_of(napi_env env, napi_value value) {
  bool is_socket = false;
  void *data = NULL;
  if (napi_check_object_type_tag(env, value, &SOCKET_TAG, &is_socket) != napi_ok || !is_socket) return NULL;
  if (napi_unwrap(env, value, &data) != napi_ok) return NULL;
  return data;
}

/* Reads exactly `count` arguments. The socket that comes first among them, or NULL. */
static socket_state *socket_argument(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  return arguments(env, info, count, values, NULL) ? socket_of(env, values[0]) : NULL;
}

static bool bytes_of(napi_env env, napi_value value, uint8_t **data, size_t *length) {
  napi_typedarray_type type;
  void *start = NULL;
  bool is_typed_array = false;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array) return false;
  if (napi_get_typedarray_info(env, value, &type, length, &start, NULL, NULL) != napi_ok) return false;
  *data = start;
  return type == napi_uint8_array;
}

static bool uint32_of(napi_env env, napi_value value, uint32_t *result) {
  return napi_get_value_uint32(env, value, result) == napi_ok;
}

/* Takes the descriptor, also when it fails: an object for it, or a negated errno. */
static napi_value adopt(environment *owner, int fd, napi_value *created) {
  napi_env env = owner->env;
  napi_value object = NULL;
  int error = ENOMEM;
  if (created != NULL) *created = NULL;
  socket_state *socket = owner->is_exiting ? NULL : calloc(1, sizeof *socket);
  if (socket == NULL) goto failed;
  error = -uv_poll_init(owner->loop, &socket->poll, fd);
  if (error != 0) goto failed;
  socket->poll.data = socket;
  socket->owner = owner;
  socket->fd = fd;
  socket->has_poll = true;
  socket->next = owner->sockets;
  if (socket->next != NULL) socket->next->previous = socket;
  owner->sockets = socket;
  owner->open_polls += 1;
  COUNT_SOCKET(1);
  if (napi_create_object(env, &object) != napi_ok || napi_type_tag_object(env, object, &SOCKET_TAG) != napi_ok ||
      napi_wrap(env, object, socket, on_object_collected, NULL, &socket->object) != napi_ok) {
    close_socket(socket); /* freed when the poll is closed */
    return number(env, -ENOMEM);
  }
  socket->has_object = true;
  if (created != NULL) *created = object;
  return object;

failed:
  free(socket);
  close(fd);
  return number(env, -error);
}

/* ------------------------------------------------------------------------------------------------------------- waiting */

static void on_ready(uv_poll_t *poll, int status, int events) {
  socket_state *socket = poll->data;
  napi_env env = socket->owner->env;
  napi_handle_scope scope;
  napi_value object = NULL, callback = NULL, argument = NULL;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  /* Before the hold on it may go. */
  napi_get_reference_value(env, socket->object, &object);
  if (status < 0) {
    /* The socket has an error, and libuv has stopped watching. The next call on it says which error. */
    events = UV_READABLE | UV_WRITABLE;
    set_watched(socket, 0);
  }
  if (object != NULL && napi_get_named_property(env, object, "onReady", &callback) == napi_ok &&
      napi_create_int32(env, events, &argument) == napi_ok) {
    napi_status called = napi_make_callback(env, NULL, object, callback, 1, &argument, NULL);
    bool has_thrown = false;
    napi_value thrown = NULL;
    if (called != napi_ok && napi_is_exception_pending(env, &has_thrown) == napi_ok && has_thrown &&
        napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
      napi_fatal_exception(env, thrown);
    }
  }
  napi_close_handle_scope(env, scope);
}

/* watch(socket, events): 0 to stop. */
static napi_value watch(napi_env env, napi_callback_info info) {
  napi_value values[2];
  uint32_t events;
  socket_state *socket = socket_argument(env, info, 2, values);
  if (socket == NULL || !uint32_of(env, values[1], &events)) return wrong_arguments(env);
  if (socket->fd < 0) return number(env, -EBADF);
  int wanted = (int)(events & (UV_READABLE | UV_WRITABLE));
  if (wanted == socket->watched) return number(env, 0);
  int result = wanted == 0 ? uv_poll_stop(&socket->poll) : uv_poll_start(&socket->poll, wanted, on_ready);
  set_watched(socket, result == 0 ? wanted : 0);
  return number(env, result);
}

/* -------------------------------------------------------------------------------------------------- listen and connect */

static int open_socket(int family) {
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

static napi_value listen_at(environment *owner, const struct sockaddr *address, socklen_t length, int backlog) {
  int fd = open_socket(address->sa_family);
  if (fd < 0) return number(owner->env, fd);
  if (bind(fd, address, length) != 0 || listen(fd, backlog) != 0) {
    int error = errno;
    close(fd);
    return number(owner->env, -error);
  }
  return adopt(owner, fd, NULL);
}

/* Under way when it returns: watch for UV_WRITABLE, then ask connectResult. */
static napi_value connect_to(environment *owner, const struct sockaddr *address, socklen_t length, uint32_t timeout_ms) {
  int fd = open_socket(address->sa_family);
  if (fd < 0) return number(owner->env, fd);
  if (address->sa_family == AF_VSOCK) {
    /* The kernel's own limit is two seconds (vsock(7)); the caller's deadline replaces it. */
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    (void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof limit);
  }
  if (connect(fd, address, length) != 0 && errno != EINPROGRESS) {
    int error = errno;
    close(fd);
    return number(owner->env, -error);
  }
  return adopt(owner, fd, NULL);
}

/* listen(port, backlog): on every CID that this machine has. */
static napi_value listen_vsock(napi_env env, napi_callback_info info) {
  environment *owner;
  napi_value values[2];
  uint32_t port, backlog;
  if (!arguments(env, info, 2, values, &owner) || !uint32_of(env, values[0], &port) ||
      !uint32_of(env, values[1], &backlog)) {
    return wrong_arguments(env);
  }
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
  return listen_at(owner, (struct sockaddr *)&address, sizeof address, (int)(backlog & 0xffff));
}

/* connect(cid, port, flags, timeoutMs): flags as in sockaddr_vm, VMADDR_FLAG_TO_HOST or 0. */
static napi_value connect_vsock(napi_env env, napi_callback_info info) {
  environment *owner;
  napi_value values[4];
  uint32_t cid, port, flags, timeout_ms;
  if (!arguments(env, info, 4, values, &owner) || !uint32_of(env, values[0], &cid) ||
      !uint32_of(env, values[1], &port) || !uint32_of(env, values[2], &flags) ||
      !uint32_of(env, values[3], &timeout_ms)) {
    return wrong_arguments(env);
  }
  struct sockaddr_vm address = {
      .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port, .svm_flags = (uint8_t)(flags & VMADDR_FLAG_TO_HOST)};
  return connect_to(owner, (struct sockaddr *)&address, sizeof address, timeout_ms);
}

/* connectResult(socket): 0 when it is connected, else what went wrong. */
static napi_value connect_result(napi_env env, napi_callback_info info) {
  napi_value value;
  socket_state *socket = socket_argument(env, info, 1, &value);
  if (socket == NULL) return wrong_arguments(env);
  if (socket->fd < 0) return number(env, -EBADF);
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
  if (error != 0) return number(env, -error);
  struct sockaddr_storage peer;
  length = sizeof peer;
  return number(env, getpeername(socket->fd, (struct sockaddr *)&peer, &length) == 0 ? 0 : -errno);
}

/* accept(listener): a socket with peerCid and peerPort, or a negated errno (EAGAIN: nobody waits). */
static napi_value accept_one(napi_env env, napi_callback_info info) {
  napi_value value;
  socket_state *listener = socket_argument(env, info, 1, &value);
  if (listener == NULL) return wrong_arguments(env);
  if (listener->fd < 0) return number(env, -EBADF);
  union {
    struct sockaddr any;
    struct sockaddr_vm vm;
    struct sockaddr_storage storage;
  } peer;
  int fd;
  do {
    memset(&peer, 0, sizeof peer);
    socklen_t length = sizeof peer;
    fd = accept4(listener->fd, &peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  if (fd < 0) return number(env, -errno);
  uint32_t cid = VMADDR_CID_ANY, port = VMADDR_PORT_ANY; /* nobody's: refused by whoever asks */
  if (peer.any.sa_family == AF_VSOCK) {
    cid = peer.vm.svm_cid;
    port = peer.vm.svm_port;
  }
#ifdef CLOISTER_TEST
  if (peer.any.sa_family == AF_UNIX) cid = VMADDR_CID_LOCAL;
#endif
  napi_value object, result = adopt(listener->owner, fd, &object), cid_value, port_value;
  if (object == NULL) return result;
  if (napi_create_uint32(env, cid, &cid_value) != napi_ok || napi_create_uint32(env, port, &port_value) != napi_ok ||
      napi_set_named_property(env, object, "peerCid", cid_value) != napi_ok ||
      napi_set_named_property(env, object, "peerPort", port_value) != napi_ok) {
    return NULL; /* the exception is pending; the object is collected and its socket closed */
  }
  return result;
}

#ifdef CLOISTER_TEST
/*
 * Machines without a vsock device have no AF_VSOCK to test on. The test build, and only that, opens unix sockets too;
 * all that follows opening is the same code.
 */
static bool unix_address(napi_env env, napi_value value, struct sockaddr_un *address) {
  size_t length = 0;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  return napi_get_value_string_utf8(env, value, address->sun_path, sizeof address->sun_path, &length) == napi_ok &&
         length > 0 && length < sizeof address->sun_path - 1;
}

static napi_value listen_unix(napi_env env, napi_callback_info info) {
  environment *owner;
  napi_value values[2];
  struct sockaddr_un address;
  uint32_t backlog;
  if (!arguments(env, info, 2, values, &owner) || !unix_address(env, values[0], &address) ||
      !uint32_of(env, values[1], &backlog)) {
    return wrong_arguments(env);
  }
  return listen_at(owner, (struct sockaddr *)&address, sizeof address, (int)(backlog & 0xffff));
}

static napi_value connect_unix(napi_env env, napi_callback_info info) {
  environment *owner;
  napi_value value;
  struct sockaddr_un address;
  if (!arguments(env, info, 1, &value, &owner) || !unix_address(env, value, &address)) return wrong_arguments(env);
  return connect_to(owner, (struct sockaddr *)&address, sizeof address, 0);
}

static napi_value count_live(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, live_sockets);
}
#endif

/* ---------------------------------------------------------------------------------------------- read, write, shut, close */

/* read(socket, bytes): how many bytes came, 0 at the other side's end. */
static napi_value read_bytes(napi_env env, napi_callback_info info) {
  napi_value values[2];
  uint8_t *data;
  size_t length;
  socket_state *socket = socket_argument(env, info, 2, values);
  /* An empty buffer would make data look like an end. */
  if (socket == NULL || !bytes_of(env, values[1], &data, &length) || length == 0) return wrong_arguments(env);
  if (socket->fd < 0) return number(env, -EBADF);
  ssize_t count;
  do {
    count = recv(socket->fd, data, length, MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return number(env, count < 0 ? -errno : count);
}

/* write(socket, bytes, offset): how many bytes were taken, MAX_WRITE_BYTES at most. */
static napi_value write_bytes(napi_env env, napi_callback_info info) {
  napi_value values[3];
  uint8_t *data;
  size_t length;
  uint32_t offset;
  socket_state *socket = socket_argument(env, info, 3, values);
  if (socket == NULL || !bytes_of(env, values[1], &data, &length) || !uint32_of(env, values[2], &offset) ||
      offset >= length) {
    return wrong_arguments(env);
  }
  if (socket->fd < 0) return number(env, -EBADF);
  length -= offset;
  if (length > MAX_WRITE_BYTES) length = MAX_WRITE_BYTES;
  ssize_t count;
  do {
    count = send(socket->fd, data + offset, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return number(env, count < 0 ? -errno : count);
}

/* shutdown(socket): ends our direction; the other one stays. */
static napi_value shut_down(napi_env env, napi_callback_info info) {
  napi_value value;
  socket_state *socket = socket_argument(env, info, 1, &value);
  if (socket == NULL) return wrong_arguments(env);
  if (socket->fd < 0) return number(env, -EBADF);
  return number(env, shutdown(socket->fd, SHUT_WR) == 0 ? 0 : -errno);
}

/* close(socket): at once, and more than once does no harm. */
static napi_value close_one(napi_env env, napi_callback_info info) {
  napi_value value;
  socket_state *socket = socket_argument(env, info, 1, &value);
  if (socket == NULL) return wrong_arguments(env);
  if (socket->fd >= 0) {
    set_watched(socket, 0);
    close_socket(socket);
  }
  return number(env, 0);
}

/* ---------------------------------------------------------------------------------------------------------------- module */

static bool export_function(napi_env env, napi_value exports, environment *owner, const char *name, napi_callback call) {
  napi_value function;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, call, owner, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

NAPI_MODULE_INIT(/* env, exports */) {
  static const struct {
    const char *name;
    napi_callback call;
  } functions[] = {
      {"listen", listen_vsock},   {"connect", connect_vsock}, {"connectResult", connect_result},
      {"accept", accept_one},     {"watch", watch},           {"read", read_bytes},
      {"write", write_bytes},     {"shutdown", shut_down},    {"close", close_one},
#ifdef CLOISTER_TEST
      {"listenUnix", listen_unix}, {"connectUnix", connect_unix}, {"liveSockets", count_live},
#endif
  };
  environment *owner = calloc(1, sizeof *owner);
  if (owner == NULL) {
    napi_throw_error(env, NULL, "vsock addon: no memory");
    return NULL;
  }
  owner->env = env;
  if (napi_get_uv_event_loop(env, &owner->loop) != napi_ok ||
      napi_set_instance_data(env, owner, free_environment, NULL) != napi_ok) {
    free(owner);
    napi_throw_error(env, NULL, "vsock addon: no event loop");
    return NULL;
  }
  if (napi_add_async_cleanup_hook(env, on_exit_of_environment, owner, &owner->exit_hook) != napi_ok) {
    napi_throw_error(env, NULL, "vsock addon: no hook for the end");
    return NULL;
  }
  for (size_t index = 0; index < sizeof functions / sizeof functions[0]; index += 1) {
    if (!export_function(env, exports, owner, functions[index].name, functions[index].call)) return NULL;
  }
  napi_value limit = number(env, MAX_WRITE_BYTES);
  if (napi_set_named_property(env, exports, "maxWriteBytes", limit) != napi_ok) return NULL;
  return exports;
}
