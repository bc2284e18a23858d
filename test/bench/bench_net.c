/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_net.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 16384, DEFAULT_PORT = 9001 };

bool bench_net_parse(const char *text, struct addr *out)
{
    const char *why = NULL;
    if (addr_parse(out, slice_of(text), DEFAULT_PORT, false, &why) == 0)
        return true;
    fprintf(stderr, "%s: %s\n", text, why);
    return false;
}

int bench_net_listen(const struct addr *at)
{
    int on = 1;
    int fd = socket(at->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        bind(fd, &at->u.sa, at->len) < 0 || listen(fd, BACKLOG) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void bench_net_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}
