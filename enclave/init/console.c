/* The console, and the end. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

/* The kernel opens no console for init: /dev is empty until it is mounted. Without one (AWS gives none to an enclave
   that is not in debug mode) everything goes to /dev/null, and nothing depends on it. */
void open_console(void) {
  int fd = open("/dev/console", O_RDWR | O_NOCTTY);
  if (fd < 0) fd = open("/dev/null", O_RDWR);
  if (fd < 0) power_off();
  for (int target = 0; target <= 2; target += 1) {
    if (fd != target && dup2(fd, target) < 0) power_off();
  }
  if (fd > 2) close(fd);
}

int64_t now_ms(void) {
  struct timespec now = {0};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 0))) static void write_line(const char *prefix, int error, const char *format,
                                                             va_list arguments) {
  char text[256], line[384];
  vsnprintf(text, sizeof text, format, arguments);
  int length = error == 0 ? snprintf(line, sizeof line, "cloister-init: %s%s\n", prefix, text)
                          : snprintf(line, sizeof line, "cloister-init: %s%s: %s\n", prefix, text, strerror(error));
  if (length < 0) return;
  size_t left = (size_t)length < sizeof line ? (size_t)length : sizeof line - 1;
  if (write(STDERR_FILENO, line, left) < 0) return; /* there is nobody to tell */
}

void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line("", 0, format, arguments);
  va_end(arguments);
}

void step_done(const char *step) {
  say("%s %lld", step, (long long)now_ms());
}

void die(int error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  write_line("failed: ", error, format, arguments);
  va_end(arguments);
  power_off();
}

/* A reboot ends the enclave: the hypervisor starts nothing again. If even that fails, so does process 1, and the kernel
   panics, which ends the enclave too. */
void power_off(void) {
  if (getpid() != 1) _exit(1);
  kill(-1, SIGKILL);
  sync();
  reboot(RB_AUTOBOOT);
  _exit(1);
}
