/* Node: what it is started with, and as whom. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parse.h"

/* Owns no file in the image. */
enum { NODE_UID = 65532, NODE_GID = 65532 };
/* One for each stream, and streams are capped far below (parent-proxy/limits.ts). */
enum { MAX_OPEN_FILES = 65536 };

static const char NODE[] = "/app/node";

/* The same as the simulator's (simulator/enclave-as-process.ts, ENCLAVE_NODE_FLAGS). */
#define NODE_FLAGS "--disable-proto=delete", "--disallow-code-generation-from-strings", "--disable-sigusr1"

static struct heap_limits fitted_heap(void) {
  char text[4096];
  int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
  if (fd < 0) die(errno, "open /proc/meminfo");
  ssize_t length = read(fd, text, sizeof text);
  if (length < 0) die(errno, "read /proc/meminfo");
  close(fd);
  uint64_t available_kib = 0;
  struct heap_limits limits;
  if (!parse_available_memory(text, (size_t)length, &available_kib)) die(0, "no MemAvailable in /proc/meminfo");
  if (!fit_heap(available_kib, &limits)) {
    die(0, "too little memory: %llu MiB are left for Node", (unsigned long long)(available_kib / 1024));
  }
  say("memory %llu MiB left, old space %u MiB, semi-space %u MiB", (unsigned long long)(available_kib / 1024),
      limits.old_space, limits.semi_space);
  return limits;
}

/*
 * Executable, and readable by nobody but root: the kernel then counts its process as one that is not to be dumped
 * (execve(2), prctl(2)), and no other process of its user, if there were one, could look into its memory.
 */
void hide_node(void) {
  if (chmod(NODE, 0711) != 0) die(errno, "chmod %s", NODE);
}

static struct rlimit both(rlim_t value) {
  return (struct rlimit){.rlim_cur = value, .rlim_max = value};
}

/* In the child. What fails here ends it, and with it the enclave. */
static void drop_everything(void) {
  sigset_t none;
  sigemptyset(&none);
  if (setsid() < 0) die(errno, "setsid");
  int null = open("/dev/null", O_RDONLY);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) die(errno, "open /dev/null");
  if (syscall(SYS_close_range, 3U, ~0U, 0U) != 0) die(errno, "close_range");
  const struct rlimit no_core = both(0), files = both(MAX_OPEN_FILES);
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) die(errno, "RLIMIT_CORE");
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) die(errno, "RLIMIT_NOFILE");
  /* Up to the last capability that this kernel knows. */
  for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability += 1) continue;
  if (errno != EINVAL) die(errno, "drop capabilities");
  if (setgroups(0, NULL) != 0) die(errno, "setgroups");
  if (setresgid(NODE_GID, NODE_GID, NODE_GID) != 0) die(errno, "setresgid");
  if (setresuid(NODE_UID, NODE_UID, NODE_UID) != 0) die(errno, "setresuid");
  if (setresuid(0, 0, 0) == 0) die(0, "root can be had back");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die(errno, "no_new_privs");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) die(errno, "PR_SET_PDEATHSIG");
  if (sigprocmask(SIG_SETMASK, &none, NULL) != 0) die(errno, "sigprocmask");
}

pid_t start_node(uint32_t parent_cid) {
  char old_space[40], semi_space[40], cid[16];
  const struct heap_limits limits = fitted_heap();
  snprintf(old_space, sizeof old_space, "--max-old-space-size=%u", limits.old_space);
  snprintf(semi_space, sizeof semi_space, "--max-semi-space-size=%u", limits.semi_space);
  snprintf(cid, sizeof cid, "%u", parent_cid);
  const char *const arguments[] = {NODE,     NODE_FLAGS, old_space, semi_space, "/app/main.mjs", "--parent-cid",
                                   cid,      NULL};
  static const char *const environment[] = {"HOME=/", "LANG=C.UTF-8", "NODE_ENV=production", "TZ=UTC", NULL};
  pid_t child = fork();
  if (child < 0) die(errno, "fork");
  if (child > 0) return child;
  drop_everything();
  /* execve changes neither; its types are older than const. */
  execve(NODE, (char *const *)(uintptr_t)arguments, (char *const *)(uintptr_t)environment);
  die(errno, "execute %s", NODE);
}
