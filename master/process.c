/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* master - keeper - worker - respawned keeper is the deepest there is. */
enum { GENERATIONS_MAX = 8 };

struct process_stat {
    char name[16];
    char state;
    int32_t parent;
};

/* The first fields of /proc/PID/stat: `pid (name) state parent ...`; the name may hold anything. */
static int read_stat(int32_t pid, struct process_stat *out)
{
    char path[32];
    char text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return -ESRCH;
    text[n] = '\0';
    const char *open_paren = strchr(text, '(');
    const char *close_paren = strrchr(text, ')');
    if (!open_paren || !close_paren || close_paren < open_paren)
        return -EPROTO;
    size_t length = (size_t)(close_paren - open_paren) - 1;
    if (length >= sizeof out->name)
        return -EPROTO;
    memcpy(out->name, open_paren + 1, length);
    out->name[length] = '\0';
    if (sscanf(close_paren + 1, " %c %d", &out->state, &out->parent) != 2)
        return -EPROTO;
    return 0;
}

static bool runs_as(int32_t pid, const char *name, struct process_stat *stat)
{
    return pid > 0 && read_stat(pid, stat) == 0 && stat->state != 'Z' && stat->state != 'X' &&
           strcmp(stat->name, name) == 0;
}

bool process_is_named(int32_t pid, const char *name)
{
    struct process_stat stat;
    return runs_as(pid, name, &stat);
}

bool process_is_ours(int32_t pid, const char *name)
{
    struct process_stat stat;
    if (!runs_as(pid, name, &stat))
        return false;
    int32_t self = (int32_t)getpid();
    for (int i = 0; i < GENERATIONS_MAX; i++) {
        if (stat.parent == self)
            return true;
        if (stat.parent <= 1 || read_stat(stat.parent, &stat) < 0)
            return false;
    }
    return false;
}

bool process_is_child(int32_t pid)
{
    siginfo_t info;
    info.si_pid = 0;
    return pid > 1 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

int process_signal(int32_t pid, const char *name, int signal)
{
    if (pid <= 1)
        return -ESRCH;
    /* The pidfd first: from now on it means the process that is checked. */
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -errno;
    int error = -ESRCH;
    if (process_is_ours(pid, name))
        error = syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0) < 0 ? -errno : 0;
    close(fd);
    return error;
}

static void kill_all_named(const char *name)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return;
    for (const struct dirent *entry; (entry = readdir(proc));)
        (void)process_signal((int32_t)strtol(entry->d_name, NULL, 10), name, SIGKILL);
    closedir(proc);
}

void process_kill_all(void)
{
    /* Keepers before workers: a keeper would start another worker. */
    kill_all_named(PROCESS_KEEPER);
    kill_all_named(PROCESS_WORKER);
    kill_all_named(PROCESS_CHECKER);
}

void process_set_name(const char *name)
{
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}
