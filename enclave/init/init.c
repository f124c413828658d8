/*
 * The enclave's first process, and the only one that is root. It prepares the kernel, starts Node as a user that owns
 * nothing, waits for its end, reports it and ends the enclave. It listens to nobody; any step that fails ends the enclave.
 */
#include "init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reaps whatever ends until `child` does. Nobody in an enclave sends signals, but a test may: SIGTERM is passed on. */
static int wait_for(pid_t child, const sigset_t *signals) {
  for (;;) {
    int status = 0;
    pid_t ended;
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended == child) return status;
    }
    if (ended < 0 && errno != EINTR) die(errno, "waitpid");
    int received = sigwaitinfo(signals, NULL);
    if (received == SIGTERM || received == SIGINT) kill(child, SIGTERM);
  }
}

int main(void) {
  if (getpid() != 1) {
    say("this is an enclave's init: it runs as process 1 only");
    return 1;
  }
  /* Before Node exists: a SIGCHLD must not be lost. */
  sigset_t all, waited;
  sigfillset(&all);
  sigemptyset(&waited);
  sigaddset(&waited, SIGCHLD);
  sigaddset(&waited, SIGTERM);
  sigaddset(&waited, SIGINT);
  if (sigprocmask(SIG_SETMASK, &all, NULL) != 0) power_off();
  reboot(RB_DISABLE_CAD);

  mount_all();
  step_done("mounts");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) die(errno, "PR_SET_DUMPABLE");
  harden_kernel();
  loopback_up();
  seed_kernel();
  step_done("entropy");
  const uint32_t parent_cid = find_parent();
  say("parent CID %u", parent_cid);
  step_done("heartbeat");
  make_read_only();
  const pid_t node = start_node(parent_cid);
  step_done("node");

  const int status = wait_for(node, &waited);
  if (WIFEXITED(status)) say("node exited with %d", WEXITSTATUS(status));
  else if (WIFSIGNALED(status)) say("node was ended by signal %d", WTERMSIG(status));
  step_done("end");
  power_off();
}
