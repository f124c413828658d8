/* File systems and the kernel's settings. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void mount_at(const char *type, const char *target, unsigned long flags, const char *options) {
  if (mkdir(target, 0755) != 0 && errno != EEXIST) die(errno, "mkdir %s", target);
  if (mount(type, target, type, flags, options) != 0 && errno != EBUSY) die(errno, "mount %s", target);
}

/* The image need not hold these folders: the root is writable until make_read_only. */
void mount_all(void) {
  umask(022);
  if (mkdir("/dev", 0755) != 0 && errno != EEXIST) power_off();
  if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755") != 0 && errno != EBUSY) power_off();
  open_console();
  /* Processes of others are not seen, not even that they are there. */
  mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2");
  mount_at("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
}

/* The mount, not the file system: the kernel goes on making device files in /dev. */
static void read_only_mount(const char *target, unsigned long flags) {
  if (mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL) != 0) {
    die(errno, "make %s read-only", target);
  }
}

/* There is no writable place at all for Node: no /tmp, no /run, no /dev/shm. What it keeps, the parent keeps, sealed. */
void make_read_only(void) {
  read_only_mount("/dev", MS_NOSUID | MS_NOEXEC);
  read_only_mount("/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0) die(errno, "make the root read-only");
  read_only_mount("/", MS_NOSUID | MS_NODEV);
  int fd = open("/cloister-probe", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) die(0, "the root is still writable");
  if (errno != EROFS) die(errno, "probe the root");
}

struct setting {
  const char *path;
  const char *value;
  int is_needed; /* if not: a kernel built without the feature has no such file, and nothing to protect */
};

static const struct setting SETTINGS[] = {
    {"/proc/sys/kernel/dmesg_restrict", "1", 1},
    {"/proc/sys/kernel/kptr_restrict", "2", 1},
    {"/proc/sys/kernel/panic_on_oops", "1", 1},
    {"/proc/sys/kernel/randomize_va_space", "2", 1},
    {"/proc/sys/fs/suid_dumpable", "0", 1},
    {"/proc/sys/kernel/sysrq", "0", 0},
    {"/proc/sys/kernel/unprivileged_bpf_disabled", "1", 0},
    {"/proc/sys/kernel/perf_event_paranoid", "3", 0},
    {"/proc/sys/kernel/yama/ptrace_scope", "3", 0},
    {"/proc/sys/kernel/kexec_load_disabled", "1", 0},
};

void harden_kernel(void) {
  for (size_t index = 0; index < sizeof SETTINGS / sizeof SETTINGS[0]; index += 1) {
    const struct setting *setting = &SETTINGS[index];
    int fd = open(setting->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && !setting->is_needed) continue;
    if (fd < 0) die(errno, "open %s", setting->path);
    size_t length = strlen(setting->value);
    if (write(fd, setting->value, length) != (ssize_t)length) die(errno, "write %s", setting->path);
    close(fd);
  }
}
