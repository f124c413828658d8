/*
 * Fuzzes what reads lengths: the NSM's answer in init, /proc/meminfo, and the length that the NSM's driver reports. With
 * clang it is a libFuzzer target (-fsanitize=fuzzer -DCLOISTER_LIBFUZZER); with any compiler it changes seeds at random:
 *
 *   fuzz SEED ROUNDS
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../enclave/init/parse.h"
#include "../../enclave/native/nsm-request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_random(const uint8_t *data, size_t size) {
  const uint8_t *random = NULL;
  size_t count = parse_random(data, size, &random);
  if (count == 0) return;
  assert(count <= MAX_RANDOM_BYTES && random + count == data + size);
  /* What was taken must be what a strict writer of CBOR writes, or the same with a longer head. */
  size_t head = (size_t)(random - data) - 19;
  assert(head == 1 ? data[19] == 0x40 + count : head == 2 ? data[19] == 0x58 && data[20] == count : head == 3);
  assert(memcmp(data + 1, GET_RANDOM_REQUEST, sizeof GET_RANDOM_REQUEST) == 0);
}

static void fuzz_memory(const uint8_t *data, size_t size) {
  uint64_t kib = 0;
  struct heap_limits limits;
  if (!parse_available_memory((const char *)data, size, &kib)) return;
  assert(kib < (uint64_t)1 << 40);
  if (fit_heap(kib, &limits)) assert(limits.old_space + 48ULL <= kib / 1024);
}

static const uint8_t *device_data;
static size_t device_size;

/* Does whatever the input says, within what a kernel can do. */
static int device(int fd, struct nsm_raw *raw) {
  (void)fd;
  if (device_size < 9) return -EIO;
  if (device_data[0] == 0) return -(int)device_data[1] - 1;
  uint64_t length;
  memcpy(&length, device_data + 1, sizeof length);
  if (device_data[0] < 128) length %= 0x4000;
  const size_t room = length < raw->response_length ? (size_t)length : (size_t)raw->response_length;
  const size_t count = room < device_size - 9 ? room : device_size - 9;
  memcpy((void *)(uintptr_t)raw->response_address, device_data + 9, count);
  raw->response_length = length;
  return 0;
}

static void fuzz_request(const uint8_t *data, size_t size) {
  uint8_t *response = calloc(1, NSM_MAX_RESPONSE_BYTES);
  assert(response != NULL);
  device_data = data;
  device_size = size;
  int length = nsm_request(device, 3, data, size, response);
  assert(length != 0 && length <= NSM_MAX_RESPONSE_BYTES);
  if (length > 0) fuzz_random(response, (size_t)length);
  free(response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_random(data, size);
  fuzz_memory(data, size);
  fuzz_request(data, size);
  return 0;
}

#ifndef CLOISTER_LIBFUZZER

/* xorshift64*: the same seed gives the same run on any machine. */
static uint64_t state;
static uint64_t next(uint64_t below) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (state * 0x2545f4914f6cdd1dULL >> 11) % below;
}

static const char *const SEEDS[] = {
    "\xa1\x69GetRandom\xa1\x66random\x44\x11\x11\x11\x11",
    "\xa1\x69GetRandom\xa1\x66random\x58\x20" "0123456789abcdef0123456789abcdef",
    "\xa1\x69GetRandom\xa1\x66random\x59\x01\x01",
    "MemTotal:         504004 kB\nMemFree:          315268 kB\nMemAvailable:     311416 kB\n",
    "MemAvailable: 1099511627775 kB\n",
    "\x01\x01\x20\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01",
};
static const uint8_t LENGTHS[] = {0x00, 0x01, 0x17, 0x18, 0x40, 0x57, 0x58, 0x59, 0x5a, 0x5f, 0x7f, 0x80, 0xff};

int main(int count, char **arguments) {
  if (count != 3) return 2;
  state = strtoull(arguments[1], NULL, 10) * 2 + 1;
  const unsigned long long rounds = strtoull(arguments[2], NULL, 10);
  unsigned long long taken = 0;
  for (unsigned long long round = 0; round < rounds; round += 1) {
    const char *seed = SEEDS[next(sizeof SEEDS / sizeof SEEDS[0])];
    size_t length = strlen(seed);
    /* Exactly as long as its content, so that one byte too far is found. */
    const size_t size = next(4) == 0 ? next(length + 64) + 1 : length;
    uint8_t *data = malloc(size);
    assert(data != NULL);
    for (size_t at = 0; at < size; at += 1) data[at] = at < length ? (uint8_t)seed[at] : (uint8_t)next(256);
    for (uint64_t changes = next(4); changes > 0; changes -= 1) {
      const size_t at = next(2) == 0 && size > 19 ? 19 + next(size - 19) : next(size);
      data[at] = next(2) == 0 ? LENGTHS[next(sizeof LENGTHS)] : (uint8_t)next(256);
    }
    const uint8_t *random = NULL;
    if (parse_random(data, size, &random) > 0) taken += 1;
    LLVMFuzzerTestOneInput(data, size);
    free(data);
  }
  /* A fuzzer whose inputs are all refused at the first byte proves nothing. */
  printf("%llu inputs, %llu taken for random bytes\n", rounds, taken);
  return taken > 0 && taken < rounds ? 0 : 1;
}

#endif
