#include "parse.h"

#include <string.h>

const uint8_t GET_RANDOM_REQUEST[10] = {0x69, 'G', 'e', 't', 'R', 'a', 'n', 'd', 'o', 'm'};

size_t parse_random(const uint8_t *response, size_t length, const uint8_t **random) {
  /* A map of one, its key, a map of one, its key. */
  static const uint8_t START[] = {0xa1, 0x69, 'G', 'e', 't', 'R', 'a', 'n', 'd', 'o', 'm',
                                  0xa1, 0x66, 'r', 'a', 'n', 'd', 'o', 'm'};
  if (length <= sizeof START || memcmp(response, START, sizeof START) != 0) return 0;
  const uint8_t *head = response + sizeof START;
  size_t left = length - sizeof START, head_length, count;
  if (head[0] >= 0x40 && head[0] <= 0x57) {
    head_length = 1;
    count = (size_t)(head[0] - 0x40);
  } else if (head[0] == 0x58 && left >= 2) {
    head_length = 2;
    count = head[1];
  } else if (head[0] == 0x59 && left >= 3) {
    head_length = 3;
    count = ((size_t)head[1] << 8) | head[2];
  } else {
    return 0;
  }
  if (count > MAX_RANDOM_BYTES || left - head_length != count) return 0;
  *random = head + head_length;
  return count;
}

bool parse_available_memory(const char *text, size_t length, uint64_t *kib) {
  static const char NAME[] = "MemAvailable:";
  static const char UNIT[] = " kB\n";
  const size_t name_length = sizeof NAME - 1, unit_length = sizeof UNIT - 1;
  const uint64_t LIMIT = (uint64_t)1 << 40;
  for (size_t line = 0; line < length;) {
    if (length - line >= name_length && memcmp(text + line, NAME, name_length) == 0) {
      size_t at = line + name_length;
      while (at < length && text[at] == ' ') at += 1;
      const size_t first = at;
      uint64_t value = 0;
      while (at < length && text[at] >= '0' && text[at] <= '9') {
        value = value * 10 + (uint64_t)(text[at] - '0');
        if (value >= LIMIT) return false;
        at += 1;
      }
      if (at == first || length - at < unit_length || memcmp(text + at, UNIT, unit_length) != 0) return false;
      *kib = value;
      return true;
    }
    const char *end = memchr(text + line, '\n', length - line);
    if (end == NULL) return false;
    line = (size_t)(end - text) + 1;
  }
  return false;
}

bool fit_heap(uint64_t available_kib, struct heap_limits *limits) {
  const uint64_t RESERVED_MIB = 48, LEAST_MIB = 32, MOST_MIB = 4096;
  const uint64_t available_mib = available_kib / 1024;
  if (available_mib <= RESERVED_MIB) return false;
  uint64_t old_space = (available_mib - RESERVED_MIB) * 3 / 4;
  if (old_space < LEAST_MIB) return false;
  if (old_space > MOST_MIB) old_space = MOST_MIB;
  unsigned semi_space = 1;
  while (semi_space < 16 && (uint64_t)semi_space * 2 <= old_space / 16) semi_space *= 2;
  limits->old_space = (unsigned)old_space;
  limits->semi_space = semi_space;
  return true;
}
