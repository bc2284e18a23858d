/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/trial.h"

#include "shm/arena.h"
#include "shm/board.h"
#include "shm/image.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIAL_MS = 10000 };

static NORETURN void run(const char *program, const char *conf_path)
{
    char layouts[48];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0); /* it may be a script, and is killed with all that it has started */
    snprintf(layouts, sizeof layouts, "%d.%d.%d", BOARD_VERSION, ARENA_VERSION, IMAGE_VERSION);
    /* Nothing of ours may stay open in a program that is only being tried. */
    (void)close_range(STDERR_FILENO + 1, ~0u, 0);
    execl(program, "holdfast", "--fits", layouts, "-c", conf_path, (char *)NULL);
    fprintf(stderr, "holdfast: cannot run %s: %m\n", program);
    _exit(127);
}

/* Its exit status, or -1 when it had to be killed. */
static int await(pid_t pid)
{
    int status = -1;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    int ready = pidfd < 0 ? 0 : poll(&end, 1, TRIAL_MS);
    if (ready != 1) {
        kill(-pid, SIGKILL);
        kill(pid, SIGKILL);
    }
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return ready == 1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int trial_run(const char *program, const char *conf_path)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        run(program, conf_path);
    return await(pid) == 0 ? 0 : -ENOEXEC;
}

int trial_fits(const char *layouts)
{
    int board;
    int arena;
    int image = 1; /* programs that did not say */
    if (sscanf(layouts, "%d.%d.%d", &board, &arena, &image) < 2)
        return -EINVAL;
    if (board == BOARD_VERSION && image == IMAGE_VERSION && arena <= ARENA_VERSION &&
        arena >= ARENA_VERSION_READ_MIN)
        return 0;
    fprintf(stderr,
            "holdfast: this program reads board layout %d, image layout %d and arena layouts %d to "
            "%d; those in use are %d, %d and %d: stop the old one and start this one instead\n",
            BOARD_VERSION, IMAGE_VERSION, ARENA_VERSION_READ_MIN, ARENA_VERSION, board, image,
            arena);
    return -EPROTONOSUPPORT;
}
