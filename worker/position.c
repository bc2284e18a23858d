/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/position.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* States of a socket (include/net/tcp_states.h); <netinet/tcp.h> cannot stand beside <linux/tcp.h>. */
enum {
    STATE_FIN_WAIT1 = 4,
    STATE_FIN_WAIT2 = 5,
    STATE_TIME_WAIT = 6,
    STATE_CLOSE = 7,
    STATE_CLOSE_WAIT = 8,
    STATE_LAST_ACK = 9,
    STATE_CLOSING = 11,
};

enum { READS_MAX = 1000 };

static int read_info(int fd, struct tcp_info *info)
{
    socklen_t len = sizeof *info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0)
        return errno == ENOPROTOOPT || errno == EOPNOTSUPP ? -EOPNOTSUPP : -errno;
    return 0;
}

/* Packets may arrive between the calls: read until nothing has moved. */
static int read_still(int fd, struct tcp_info *info, int *unread, int *unacked)
{
    struct tcp_info again;
    for (int i = 0; i < READS_MAX; i++) {
        int rc = read_info(fd, info);
        if (rc < 0)
            return rc;
        if (ioctl(fd, SIOCINQ, unread) < 0 || ioctl(fd, SIOCOUTQ, unacked) < 0)
            return -errno;
        rc = read_info(fd, &again);
        if (rc < 0)
            return rc;
        if (info->tcpi_bytes_received == again.tcpi_bytes_received &&
            info->tcpi_bytes_acked == again.tcpi_bytes_acked &&
            info->tcpi_state == again.tcpi_state)
            return 0;
    }
    return -EAGAIN;
}

int position_read(int fd, bool active, struct position *out)
{
    struct tcp_info info;
    int unread = 0;
    int unacked = 0;
    bool fin = false;     /* theirs was received */
    bool own_fin = false; /* ours was queued */
    int rc = read_still(fd, &info, &unread, &unacked);
    if (rc < 0)
        return rc;
    *out = (struct position){0};
    switch (info.tcpi_state) {
    case STATE_FIN_WAIT1:
    case STATE_FIN_WAIT2: own_fin = true; break;
    case STATE_CLOSE_WAIT: fin = true; break;
    case STATE_LAST_ACK:
    case STATE_CLOSING:
        fin = true;
        own_fin = true;
        break;
    case STATE_CLOSE:
    case STATE_TIME_WAIT: {
        /* getsockopt(SO_ERROR) would consume the error that says "reset"; poll does not. */
        struct pollfd p = {.fd = fd};
        poll(&p, 1, 0);
        out->reset = (p.revents & POLLERR) != 0;
        fin = !out->reset;
        own_fin = info.tcpi_state == STATE_TIME_WAIT;
        out->dead = info.tcpi_state == STATE_CLOSE;
        break;
    }
    default: break;
    }
    /* A FIN counts as one byte on either side, as does the SYN of an active open. */
    out->consumed = (uint32_t)info.tcpi_bytes_received - (uint32_t)fin - (uint32_t)unread;
    out->written =
        (uint32_t)info.tcpi_bytes_acked + (uint32_t)unacked - (uint32_t)active - (uint32_t)own_fin;
    return 0;
}

int position_acked(int fd, uint32_t *out)
{
    struct tcp_info info;
    int unread = 0;
    int rc = read_info(fd, &info);
    if (rc == 0) {
        *out = (uint32_t)info.tcpi_bytes_acked;
        return 0;
    }
    if (rc != -EOPNOTSUPP || ioctl(fd, SIOCOUTQ, &unread) < 0)
        return rc;
    *out = (uint32_t)unread;
    return 0;
}
