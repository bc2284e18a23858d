/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/control.h"

#include "common/log.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Aligned room for the descriptors of one message. */
union ancillary {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CONTROL_FDS_MAX * sizeof(int))];
};

/* The order of descriptors in a message, see control_fds. Returns how many. */
static uint32_t list_fds(const struct control_message *message, const struct control_fds *fds,
                         int out[CONTROL_FDS_MAX])
{
    uint32_t n = 0;
    out[n++] = fds->image;
    out[n++] = fds->error_log;
    if (message->has_access_log)
        out[n++] = fds->access_log;
    if (message->has_keys)
        out[n++] = fds->keys;
    if (message->has_tickets)
        out[n++] = fds->tickets;
    for (uint32_t i = 0; i < message->listener_count; i++)
        out[n++] = fds->listeners[i];
    return n;
}

/*
 * True while the other end has not read everything: the queue holds one message at most, so a slot
 * whose worker crashes in a loop pins no pile of descriptors.
 */
static bool unread(int socket)
{
    int bytes = 0;
    return ioctl(socket, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

int control_send(int socket, const struct control_message *message, const struct control_fds *fds)
{
    if (message->listener_count > ARENA_LISTENERS_MAX || message->has_access_log > 1 ||
        message->has_keys > 1 || message->has_tickets > 1)
        return -EINVAL;
    if (unread(socket))
        return -EAGAIN;
    int list[CONTROL_FDS_MAX];
    size_t bytes = list_fds(message, fds, list) * sizeof(int);
    union ancillary control;
    memset(&control, 0, sizeof control);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(bytes),
    };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(cmsg), list, bytes);
    ssize_t sent;
    do {
        sent = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return -errno;
    return sent == (ssize_t)sizeof *message ? 0 : -EMSGSIZE;
}

/* Every descriptor that came along, whatever the sender said about them. Returns how many. */
static uint32_t take_fds(struct msghdr *header, int list[CONTROL_FDS_MAX])
{
    uint32_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (n < CONTROL_FDS_MAX)
                list[n++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

static bool well_formed(const struct control_message *message, uint32_t fd_count)
{
    if (message->mode > SLOT_MODE_STOP || message->log_level > LOG_LEVEL_DEBUG ||
        message->listener_count > ARENA_LISTENERS_MAX || message->has_access_log > 1 ||
        message->has_keys > 1 || message->has_tickets > 1)
        return false;
    for (uint32_t i = 0; i < message->listener_count; i++) {
        if (message->listeners[i].id == 0)
            return false;
    }
    return fd_count == 2 + message->has_access_log + message->has_keys + message->has_tickets +
                           message->listener_count;
}

static void hand_out(const struct control_message *message, const int list[CONTROL_FDS_MAX],
                     struct control_fds *fds)
{
    uint32_t n = 0;
    fds->image = list[n++];
    fds->error_log = list[n++];
    if (message->has_access_log)
        fds->access_log = list[n++];
    if (message->has_keys)
        fds->keys = list[n++];
    if (message->has_tickets)
        fds->tickets = list[n++];
    for (uint32_t i = 0; i < message->listener_count; i++)
        fds->listeners[i] = list[n++];
}

static void no_fds(struct control_fds *fds)
{
    fds->image = -1;
    fds->error_log = -1;
    fds->tickets = -1;
    fds->access_log = -1;
    fds->keys = -1;
    for (uint32_t i = 0; i < ARENA_LISTENERS_MAX; i++)
        fds->listeners[i] = -1;
}

int control_receive(int socket, struct control_message *message, struct control_fds *fds)
{
    no_fds(fds);
    memset(message, 0, sizeof *message);
    union ancillary control;
    struct iovec iov = {.iov_base = message, .iov_len = sizeof *message};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t n;
    do {
        n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    int list[CONTROL_FDS_MAX];
    uint32_t count = take_fds(&header, list);
    if (n == 0 && count == 0)
        return -EPIPE;
    bool whole = n == (ssize_t)sizeof *message && !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
    if (whole && well_formed(message, count)) {
        hand_out(message, list, fds);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++)
        close(list[i]);
    return -EPROTO;
}
