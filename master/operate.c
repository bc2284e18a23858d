/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/operate.h"

#include "common/clock.h"
#include "common/log.h"
#include "master/master.h"
#include "master/operate_order.h"
#include "master/way_back.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000, BACKLOG = 8 };

void operate_init(struct operate *operate)
{
    *operate = (struct operate){.socket = -1};
    for (uint32_t i = 0; i < OPERATE_CLIENTS; i++)
        operate->clients[i].fd = -1;
}

/* ---- the socket ---- */

/* Does somebody listen there? What a dead master has left is removed. Returns 0, -EADDRINUSE or -errno. */
static int make_room(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    int error = 0;
    if (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        error = -EADDRINUSE;
    close(probe);
    if (!error && unlink(address->sun_path) < 0)
        error = -errno;
    return error;
}

/* Returns the descriptor or -errno. */
static int bind_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    int error = make_room(&address);
    if (error)
        return error;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* With these rights from its first moment on. */
    mode_t before = umask(0177);
    if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
        error = -errno;
    umask(before);
    if (!error && listen(fd, BACKLOG) < 0) {
        error = -errno;
        (void)unlink(path);
    }
    if (!error)
        return fd;
    close(fd);
    return error;
}

static void drop(struct operate *operate, uint32_t i)
{
    close(operate->clients[i].fd);
    operate->clients[i].fd = -1;
}

/* Nobody comes there any more. Who has come is still answered. */
static void leave(struct operate *operate)
{
    if (operate->socket >= 0) {
        close(operate->socket);
        (void)unlink(operate->path);
    }
    free(operate->path);
    operate->socket = -1;
    operate->path = NULL;
}

void operate_end(struct operate *operate)
{
    for (uint32_t i = 0; i < OPERATE_CLIENTS; i++) {
        if (operate->clients[i].fd >= 0)
            drop(operate, i);
    }
    leave(operate);
    operate_init(operate);
}

/* ---- those who ask ---- */

static void answer(int fd, const char *text)
{
    (void)!send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* False: nobody that we know. */
static bool who_is(int fd, struct operate_asker *asker)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    *asker = (struct operate_asker){.uid = peer.uid, .pid = peer.pid, .name = "-"};
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)peer.pid);
    int comm = open(path, O_RDONLY | O_CLOEXEC);
    if (comm < 0)
        return true;
    ssize_t n = read(comm, asker->name, sizeof asker->name - 1);
    close(comm);
    n = n > 0 ? n : 0;
    while (n > 0 && asker->name[n - 1] == '\n')
        n--;
    for (ssize_t i = 0; i < n; i++) {
        if (!isgraph((unsigned char)asker->name[i]))
            asker->name[i] = '?';
    }
    asker->name[n] = '\0';
    return true;
}

static void refuse(int fd, const struct operate_asker *asker)
{
    log_write(LOG_LEVEL_WARN, "control_refused", "uid=%u pid=%d name=%s", asker->uid, asker->pid,
              asker->name);
    answer(fd, "error only root and the user that the master runs as may ask");
}

static bool may_ask(const struct operate_asker *asker)
{
    return asker->uid == 0 || asker->uid == geteuid();
}

static void take_callers(struct operate *operate, uint64_t now_ms)
{
    for (uint32_t i = 0; i < OPERATE_CLIENTS && operate->socket >= 0; i++) {
        struct operate_asker asker = {.uid = UINT32_MAX, .name = "-"};
        if (operate->clients[i].fd >= 0)
            continue;
        int fd = accept4(operate->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (who_is(fd, &asker) && may_ask(&asker)) {
            operate->clients[i].fd = fd;
            operate->clients[i].since_ms = now_ms;
            continue;
        }
        refuse(fd, &asker);
        close(fd);
    }
}

/* Returns a socket at master->conf->control, and *copy of that path; -1 when that failed (logged). */
static int bind_new(const struct master *master, char **copy)
{
    const char *path = master->conf->control;
    int fd = bind_at(path);
    *copy = fd >= 0 ? strdup(path) : NULL;
    if (*copy)
        return fd;
    log_write(LOG_LEVEL_ERROR, "control_socket_failed", "path=%s error=\"%s\" in_use=%s", path,
              strerror(fd < 0 ? -fd : ENOMEM), master->operate.path ? master->operate.path : "-");
    if (fd >= 0) {
        close(fd);
        (void)unlink(path);
    }
    return -1;
}

void operate_open(struct master *master)
{
    struct operate *operate = &master->operate;
    const char *before = operate->path ? operate->path : "";
    const char *path = master->conf->control ? master->conf->control : "";
    char *copy = NULL;
    operate->is_asked_to_move = false;
    if (strcmp(before, path) == 0)
        return;
    int fd = path[0] != '\0' ? bind_new(master, &copy) : -1;
    if (path[0] != '\0' && fd < 0)
        return;
    if (before[0] != '\0') {
        log_write(LOG_LEVEL_INFO, "control_socket_moved", "from=%s to=%s", before,
                  copy ? copy : "-");
        take_callers(operate, clock_mono_ms());
    }
    leave(operate);
    operate->socket = fd;
    operate->path = copy;
}

void operate_move(struct operate *operate)
{
    operate->is_asked_to_move = true;
}

/* Returns false while it has said nothing. */
static bool serve(struct master *master, int fd)
{
    char request[OPERATE_REQUEST_MAX + 1];
    char text[OPERATE_ANSWER_MAX];
    struct operate_asker asker;
    ssize_t n = recv(fd, request, sizeof request, MSG_DONTWAIT);
    if (n < 0)
        return errno != EAGAIN && errno != EINTR;
    if (n == 0 || !who_is(fd, &asker))
        return true;
    request[n < (ssize_t)sizeof request ? n : (ssize_t)sizeof request - 1] = '\0';
    if (n == (ssize_t)sizeof request || strlen(request) != (size_t)n)
        snprintf(text, sizeof text, "error the request is too long, or no text");
    else
        operate_order(master, &asker, request, text);
    answer(fd, text);
    return true;
}

uint32_t operate_watch(const struct operate *operate, struct pollfd fds[OPERATE_FDS])
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < OPERATE_CLIENTS; i++) {
        fds[1 + i] = (struct pollfd){.fd = operate->clients[i].fd, .events = POLLIN};
        busy += operate->clients[i].fd >= 0;
    }
    fds[0] = (struct pollfd){.fd = busy < OPERATE_CLIENTS ? operate->socket : -1, .events = POLLIN};
    return OPERATE_FDS;
}

void operate_step(struct master *master, uint64_t now_ms)
{
    struct operate *operate = &master->operate;
    operate_order_settle(master);
    /* Not while the program before may come back: it would listen where nobody finds it. */
    if (operate->is_asked_to_move && !way_back_is_open())
        operate_open(master);
    take_callers(operate, now_ms);
    for (uint32_t i = 0; i < OPERATE_CLIENTS; i++) {
        if (operate->clients[i].fd < 0)
            continue;
        bool late = master_since(now_ms, operate->clients[i].since_ms) >= PATIENCE_MS;
        if (serve(master, operate->clients[i].fd) || late)
            drop(operate, i);
    }
}
