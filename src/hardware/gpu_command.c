/* SPDX-License-Identifier: Apache-2.0 */
/* A program of a vendor, run as one runs something that may hang: in a process group of its own, with a time-out and a
 * bound on its output. Its exit status says little (some exit non-zero with a good table) and is not looked at. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hardware/gpu.h"

#define LOOK_MS 50 /* how often the end of the program is looked for: a child of its may hold the pipe open */

extern char **environ;

static pid_t start(const char *const argv[], int out)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    pid_t pid = -1;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    if (posix_spawnp(&pid, argv[0], &actions, &attributes, (char *const *)argv, environ))
        pid = -1;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

/* Takes what is there now. False at the end of the output or past the bound. */
static bool drain(int fd, o3_buf *output)
{
    char piece[4096];
    ssize_t n = 0;
    while (!output->overflow && (n = read(fd, piece, sizeof(piece))) > 0)
        o3_buf_add(output, piece, (size_t)n);
    return !output->overflow && n < 0 && (errno == EAGAIN || errno == EINTR);
}

char *gpu_command(const char *const argv[], int timeout_ms, size_t max)
{
    int fds[2], status;
    o3_auto(buf) o3_buf output = O3_BUF(max);
    int64_t deadline_ns = o3_now_ns() + timeout_ms * O3_NS_PER_MS;
    if (pipe2(fds, O_CLOEXEC))
        return NULL;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    pid_t pid = start(argv, fds[1]);
    close(fds[1]);
    bool ended = false, open = pid > 0;
    while (open && !ended && o3_now_ns() < deadline_ns) {
        struct pollfd wait = {.fd = fds[0], .events = POLLIN};
        poll(&wait, 1, LOOK_MS);
        ended = waitpid(pid, &status, WNOHANG) == pid; /* before the last draining: nothing is missed */
        open = drain(fds[0], &output);
    }
    while (pid > 0 && !ended && !output.overflow && o3_now_ns() < deadline_ns) { /* closed its output, still runs */
        ended = waitpid(pid, &status, WNOHANG) == pid;
        if (!ended)
            o3_sleep_ns(O3_NS_PER_MS);
    }
    close(fds[0]);
    if (pid > 0)
        kill(-pid, SIGKILL); /* whatever is left of its group */
    if (pid > 0 && !ended)
        waitpid(pid, &status, 0);
    return ended && !output.overflow && output.len ? o3_strdup(o3_buf_text(&output)) : NULL;
}
