/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/bind.h"

#include "common/clock.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROBE_EVERY_MS = 50 };

static int set_on(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof on) < 0 ? -errno : 0;
}

static int set_options(int fd, const struct addr *address, bool dual_stack, bool share)
{
    int error = set_on(fd, SOL_SOCKET, SO_REUSEADDR);
    if (!error && share)
        error = set_on(fd, SOL_SOCKET, SO_REUSEPORT);
    if (!error && share)
        error = set_on(fd, SOL_SOCKET, SO_OOBINLINE);
    if (!error && share)
        error = set_on(fd, IPPROTO_TCP, TCP_NODELAY);
    int only6 = !dual_stack;
    if (!error && address->u.sa.sa_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6, sizeof only6) < 0)
        error = -errno;
    return error;
}

static int bind_inet(const struct addr *address, bool dual_stack, bool share)
{
    int fd = socket(address->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = set_options(fd, address, dual_stack, share);
    if (!error && bind(fd, &address->u.sa, address->len) < 0)
        error = -errno;
    if (!error)
        return fd;
    close(fd);
    return error;
}

/* The IPv6 wildcard; the IPv4 wildcard where the kernel knows no IPv6. */
static int bind_shared(const struct addr *address, bool dual_stack, bool share)
{
    int fd = bind_inet(address, dual_stack, share);
    if (!dual_stack || (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL))
        return fd;
    struct addr any = {.len = sizeof any.u.in};
    any.u.in.sin_family = AF_INET;
    any.u.in.sin_port = address->u.in6.sin6_port;
    any.u.in.sin_addr.s_addr = htonl(INADDR_ANY);
    return bind_inet(&any, false, share);
}

int bind_listener(const struct addr *address, bool dual_stack, uint32_t backlog)
{
    int fd = bind_shared(address, dual_stack, true);
    if (fd < 0)
        return fd;
    if (listen(fd, (int)backlog) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

int bind_probe(const struct addr *address, bool dual_stack, uint32_t patience_ms)
{
    uint64_t end_ms = clock_mono_ms() + patience_ms;
    for (;;) {
        int fd = bind_shared(address, dual_stack, false);
        if (fd >= 0)
            return close(fd) < 0 ? -errno : 0;
        if (fd != -EADDRINUSE || clock_mono_ms() >= end_ms)
            return fd;
        poll(NULL, 0, PROBE_EVERY_MS);
    }
}

int bind_steer(int fd, uint32_t count)
{
    int unused = 0;
    if (count == 0)
        return setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof unused) < 0
                   ? -errno
                   : 0;
    /* By chance, not by skb->hash: loopback and some cards do not compute one. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof program) < 0
               ? -errno
               : 0;
}
