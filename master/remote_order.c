/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/conf.h"
#include "master/operate.h"
#include "master/remote.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

/* The connected socket, or -errno after a message. */
static int reach(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fprintf(stderr, "holdfast: the path of the control socket is too long: %s\n", path);
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = -errno;
    if (error == -ENOENT || error == -ECONNREFUSED)
        fprintf(stderr, "holdfast: not running: nobody listens at %s\n", path);
    else
        fprintf(stderr, "holdfast: cannot reach %s: %s\n", path, strerror(-error));
    if (fd >= 0)
        close(fd);
    return error;
}

/* Print what the master answers. Returns 0 if that is "ok ...". */
static int hear(int fd)
{
    char answer[OPERATE_ANSWER_MAX + 1];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (poll(&ready, 1, PATIENCE_MS) < 0 && errno == EINTR)
        continue;
    ssize_t n = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    /* Who was refused unread is told of that first; why stands behind it. */
    if (n < 0 && errno == ECONNRESET)
        n = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    if (n <= 0) {
        fprintf(stderr, "holdfast: the master has not answered\n");
        return n < 0 ? -errno : -EPIPE;
    }
    answer[n] = '\0';
    if (strncmp(answer, "ok", 2) == 0) {
        printf("%s\n", answer);
        return 0;
    }
    fprintf(stderr, "holdfast: %s\n", strncmp(answer, "error ", 6) == 0 ? answer + 6 : answer);
    return -EINVAL;
}

int remote_order(const char *conf_path, const char *order)
{
    struct conf *conf = NULL;
    int error = conf_load_alone(&conf, conf_path, stderr);
    if (error)
        return error;
    bool none = !conf->control || conf->control[0] == '\0';
    if (none)
        fprintf(stderr, "holdfast: there is no control socket: control is \"\"\n");
    int fd = none ? -ENOENT : reach(conf->control);
    conf_free(&conf);
    if (fd < 0)
        return fd;
    error = send(fd, order, strlen(order), MSG_NOSIGNAL) < 0 ? -errno : 0;
    if (!error || error == -EPIPE || error == -ECONNRESET)
        error = hear(fd);
    else
        fprintf(stderr, "holdfast: cannot ask the master: %s\n", strerror(-error));
    close(fd);
    return error;
}
