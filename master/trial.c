/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/trial.h"

#include "shm/arena.h"
#include "shm/board.h"
#include "shm/image.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

void trial_be_child(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0); /* it may be a script, and is killed with all that it has started */
}

static NORETURN void run(const char *program, const char *conf_path)
{
    char layouts[48];
    trial_be_child();
    snprintf(layouts, sizeof layouts, "%d.%d.%d", BOARD_VERSION, ARENA_VERSION, IMAGE_VERSION);
    /* Nothing of ours may stay open in a program that is only being tried. */
    (void)close_range(STDERR_FILENO + 1, ~0u, 0);
    execl(program, "holdfast", "--fits", layouts, "-c", conf_path, (char *)NULL);
    fprintf(stderr, "holdfast: cannot run %s: %m\n", program);
    _exit(127);
}

int trial_begin(const char *program, const char *conf_path)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        run(program, conf_path);
    return (int)pid;
}

void trial_kill(int pid)
{
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL); /* it may not lead its group yet */
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
