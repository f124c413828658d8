/* What init reads from others, apart from the rest so that a test and a fuzzer can drive it. */
#ifndef CLOISTER_INIT_PARSE_H
#define CLOISTER_INIT_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The NSM gives no more at once (aws-nitro-enclaves-nsm-api, GetRandom). */
enum { MAX_RANDOM_BYTES = 256 };

/* The NSM's GetRandom as CBOR: a text string of nine letters. */
extern const uint8_t GET_RANDOM_REQUEST[10];

/*
 * The answer to it, {"GetRandom": {"random": bytes}}, and nothing else: on any other byte, an error's answer included,
 * it returns 0. Otherwise the number of random bytes, and where they are.
 */
size_t parse_random(const uint8_t *response, size_t length, const uint8_t **random);

/* The value of "MemAvailable:" in /proc/meminfo, in KiB; false if it is not there or no number below 2^40. */
bool parse_available_memory(const char *text, size_t length, uint64_t *kib);

/* Limits for Node's heap, in MiB. */
struct heap_limits {
  unsigned old_space;
  unsigned semi_space;
};

/*
 * Of the memory that is available when everything but Node is there, 48 MiB are left for Node's own code and threads,
 * and of the rest a quarter for buffers, native code and the kernel's sockets. Old space gets three quarters, 4 GiB at
 * most; a semi-space a sixteenth of that as a power of two, 16 MiB at most. False below 32 MiB of old space.
 */
bool fit_heap(uint64_t available_kib, struct heap_limits *limits);

#endif
