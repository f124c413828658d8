/* The enclave's first process: its steps, in the order in which init.c takes them. Each ends the enclave if it fails. */
#ifndef CLOISTER_INIT_H
#define CLOISTER_INIT_H

#include <stdint.h>
#include <sys/types.h>

/* console.c */
void open_console(void);
/* One line on the console, after "cloister-init: ". */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/* "cloister-init: <step> <milliseconds since boot>" */
void step_done(const char *step);
/* Says what failed, with errno's text if `error` is not 0, and ends the enclave. */
__attribute__((noreturn, format(printf, 2, 3))) void die(int error, const char *format, ...);
__attribute__((noreturn)) void power_off(void);
int64_t now_ms(void);

/* mounts.c */
void mount_all(void);
void harden_kernel(void);
void make_read_only(void);

/* network.c */
void loopback_up(void);
/* The CID on which the parent answered the heartbeat. */
uint32_t find_parent(void);

/* entropy.c */
void seed_kernel(void);

/* node.c */
pid_t start_node(uint32_t parent_cid);

#endif
