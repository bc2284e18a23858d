/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/way_back.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WAY_BACK_S = 10, KEPT_MAX = 8 };

static const int caught[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM};

/* What the handler needs, made before: it may run in a heap and on a stack that are damaged. */
static struct {
    bool open;
    int program;
    int handover;
    off_t mark;
    char number[16];
    int kept[KEPT_MAX];
    uint32_t kept_count;
    uint8_t stack[16384] ALIGNED(16);
} way;

void way_back_go(void)
{
    static const char program[] = "holdfast";
    static const char option[] = "--master";
    uint32_t one = 1;
    char *arguments[] = {(char *)program, (char *)option, way.number, NULL};
    if (!way.open)
        return;
    (void)alarm(0);
    if (pwrite(way.handover, &one, sizeof one, way.mark) == (ssize_t)sizeof one)
        (void)syscall(SYS_execveat, way.program, "", arguments, environ, AT_EMPTY_PATH);
}

static void on_signal(int signal)
{
    (void)signal;
    way_back_go();
    _exit(1);
}

void way_back_open(int program, int handover, off_t mark)
{
    way.program = program;
    way.handover = handover;
    way.mark = mark;
    snprintf(way.number, sizeof way.number, "%d", handover);
    way.open = true;
    stack_t stack = {.ss_sp = way.stack, .ss_size = sizeof way.stack};
    (void)sigaltstack(&stack, NULL);
    /* NODEFER: a blocked signal would stay blocked in the program that we go back to. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        (void)sigaction(caught[i], &action, NULL);
    (void)alarm(WAY_BACK_S);
}

bool way_back_is_open(void)
{
    return way.open;
}

int way_back_keep(int fd)
{
    int copy = way.open && fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy < 0)
        return fd;
    ASSERT(way.kept_count < KEPT_MAX);
    way.kept[way.kept_count++] = fd;
    return copy;
}

void way_back_close(void)
{
    if (!way.open)
        return;
    way.open = false;
    (void)alarm(0);
    for (size_t i = 0; i < ARRAY_LEN(caught); i++)
        (void)signal(caught[i], SIG_DFL);
    stack_t none = {.ss_flags = SS_DISABLE};
    (void)sigaltstack(&none, NULL);
    while (way.kept_count > 0)
        close(way.kept[--way.kept_count]);
    close(way.program);
    close(way.handover);
}
