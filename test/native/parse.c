/* enclave/init/parse.c under sanitizers, on buffers that end where their content ends. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../enclave/init/parse.h"

static const uint8_t START[] = {0xa1, 0x69, 'G', 'e', 't', 'R', 'a', 'n', 'd', 'o', 'm',
                                0xa1, 0x66, 'r', 'a', 'n', 'd', 'o', 'm'};

static uint8_t *exact(const void *bytes, size_t length) {
  uint8_t *copy = malloc(length > 0 ? length : 1);
  assert(copy != NULL);
  memcpy(copy, bytes, length);
  return copy;
}

/* START, `head`, and `count` bytes. */
static size_t random_of(const uint8_t *head, size_t head_length, size_t count) {
  uint8_t bytes[1024];
  memcpy(bytes, START, sizeof START);
  memcpy(bytes + sizeof START, head, head_length);
  for (size_t index = 0; index < count; index += 1) bytes[sizeof START + head_length + index] = (uint8_t)(index + 1);
  const size_t length = sizeof START + head_length + count;
  uint8_t *copy = exact(bytes, length);
  const uint8_t *random = NULL;
  size_t result = parse_random(copy, length, &random);
  if (result > 0) {
    assert(result == count && random == copy + sizeof START + head_length);
    assert(random[0] == 1 && random[count - 1] == (uint8_t)count);
  }
  free(copy);
  return result;
}

static void test_random(void) {
  /* nitro.md 9, from AWS's own types. */
  static const uint8_t AWS[] = {0xa1, 0x69, 'G',  'e', 't', 'R', 'a', 'n', 'd', 'o',  'm',  0xa1,
                                0x66, 'r',  'a',  'n', 'd', 'o', 'm', 0x44, 0x11, 0x11, 0x11, 0x11};
  const uint8_t *random = NULL;
  assert(parse_random(AWS, sizeof AWS, &random) == 4 && random == AWS + 20);
  for (size_t cut = 0; cut < sizeof AWS; cut += 1) {
    uint8_t *copy = exact(AWS, cut);
    assert(parse_random(copy, cut, &random) == 0);
    free(copy);
  }
  for (size_t at = 0; at < 20; at += 1) {
    for (int bit = 0; bit < 8; bit += 1) {
      uint8_t *copy = exact(AWS, sizeof AWS);
      copy[at] = (uint8_t)(copy[at] ^ (1 << bit));
      assert(parse_random(copy, sizeof AWS, &random) == 0);
      free(copy);
    }
  }
  uint8_t longer[sizeof AWS + 1] = {0};
  memcpy(longer, AWS, sizeof AWS);
  assert(parse_random(longer, sizeof longer, &random) == 0);
  for (uint8_t count = 0; count <= 23; count += 1) {
    const uint8_t head[] = {(uint8_t)(0x40 + count)};
    assert(random_of(head, 1, count) == count);
    assert(random_of(head, 1, count + 1U) == 0);
  }
  const uint8_t short_length[] = {0x58, 200}, long_length[] = {0x59, 0x01, 0x00}, too_long[] = {0x59, 0x01, 0x01},
                huge[] = {0x59, 0xff, 0xff}, four[] = {0x5a, 0, 0, 0, 4}, eight[] = {0x5b, 0, 0, 0, 0, 0, 0, 0, 4},
                endless[] = {0x5f, 0x44}, text[] = {0x64};
  assert(random_of(short_length, 2, 200) == 200 && random_of(short_length, 2, 199) == 0);
  assert(random_of(long_length, 3, 256) == 256 && random_of(long_length, 3, 255) == 0);
  assert(random_of(too_long, 3, 257) == 0 && random_of(huge, 3, 256) == 0);
  assert(random_of(four, 5, 4) == 0 && random_of(eight, 9, 4) == 0 && random_of(endless, 2, 4) == 0);
  assert(random_of(text, 1, 4) == 0);
  /* A head whose length's bytes are missing. */
  assert(random_of(short_length, 1, 0) == 0 && random_of(long_length, 1, 0) == 0 && random_of(long_length, 2, 0) == 0);
}

static bool memory_of(const char *text, uint64_t *kib) {
  char *copy = (char *)exact(text, strlen(text));
  bool result = parse_available_memory(copy, strlen(text), kib);
  free(copy);
  return result;
}

static void test_memory(void) {
  uint64_t kib = 0;
  assert(memory_of("MemTotal:         504004 kB\nMemFree:          315268 kB\nMemAvailable:     311416 kB\nBuffers: 0 kB\n",
                   &kib));
  assert(kib == 311416);
  assert(memory_of("MemAvailable: 0 kB\n", &kib) && kib == 0);
  assert(memory_of("MemAvailable: 1099511627775 kB\n", &kib) && kib == 1099511627775);
  static const char *const WRONG[] = {
      "",
      "\n",
      "MemAvailable:",
      "MemAvailable: ",
      "MemAvailable: kB\n",
      "MemAvailable: 12",
      "MemAvailable: 12 kB",
      "MemAvailable: 12 MB\n",
      "MemAvailable: 12kB\n",
      "MemAvailable: -12 kB\n",
      "MemAvailable: 0x12 kB\n",
      "MemAvailable: 1099511627776 kB\n",
      "MemAvailable: 99999999999999999999999999999999 kB\n",
      "NoMemAvailable: 12 kB\n",
      " MemAvailable: 12 kB\n",
      "MemTotal: 12 kB\nMemFree: 5 kB\n",
  };
  for (size_t index = 0; index < sizeof WRONG / sizeof WRONG[0]; index += 1) assert(!memory_of(WRONG[index], &kib));
}

static void test_heap(void) {
  struct heap_limits limits;
  const uint64_t MIB = 1024;
  assert(!fit_heap(0, &limits) && !fit_heap(48 * MIB, &limits) && !fit_heap(90 * MIB, &limits));
  assert(fit_heap(91 * MIB, &limits) && limits.old_space == 32 && limits.semi_space == 2);
  assert(fit_heap(304 * MIB, &limits) && limits.old_space == 192 && limits.semi_space == 8);
  assert(fit_heap(1024 * MIB, &limits) && limits.old_space == 732 && limits.semi_space == 16);
  assert(fit_heap(((uint64_t)1 << 40) - 1, &limits) && limits.old_space == 4096 && limits.semi_space == 16);
  for (uint64_t mib = 0; mib < 8192; mib += 1) {
    if (!fit_heap(mib * MIB, &limits)) continue;
    assert(limits.old_space >= 32 && limits.old_space <= 4096);
    /* Three semi-spaces are the most that V8 takes for the young; all of it must fit beside what is reserved. */
    assert(limits.old_space + 3 * limits.semi_space + 48 <= mib);
  }
}

int main(void) {
  test_random();
  test_memory();
  test_heap();
#ifdef CLOISTER_PLANTED
  /* The control: a sanitizer that found nothing here would find nothing above either. */
  uint8_t *bytes = exact(START, sizeof START);
  printf("%d\n", bytes[sizeof START + (size_t)getenv("PATH")[0] * 0]);
#endif
  printf("passed\n");
  return 0;
}
