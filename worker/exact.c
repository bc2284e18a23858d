/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "worker/exact.h"

#include <errno.h>
#include <sys/socket.h>

void exact_begin(struct arena_header *header)
{
    header->received.msg_len = 0;
    header->sent.msg_len = 0;
}

/* The pointers in `message` are this process's, and of use to this call only. */
static ssize_t moved(int count, const struct mmsghdr *message)
{
    return count == 1 ? (ssize_t)message->msg_len : -1;
}

ssize_t exact_recv(struct arena_header *header, int fd, void *bytes, size_t n)
{
    struct mmsghdr *message = &header->received;
    struct iovec piece = {.iov_base = bytes, .iov_len = n};
    message->msg_hdr = (struct msghdr){.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t got = moved(recvmmsg(fd, message, 1, MSG_DONTWAIT, NULL), message);
    if (got >= 0 || errno == EAGAIN)
        return got;
    int error = errno;
    got = moved(recvmmsg(fd, message, 1, MSG_DONTWAIT, NULL), message);
    if (got > 0)
        return got;
    errno = error;
    return -1;
}

ssize_t exact_send(struct arena_header *header, int fd, const void *bytes, size_t n)
{
    struct mmsghdr *message = &header->sent;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    message->msg_hdr = (struct msghdr){.msg_iov = &piece, .msg_iovlen = 1};
    return moved(sendmmsg(fd, message, 1, MSG_DONTWAIT | MSG_NOSIGNAL), message);
}

uint32_t exact_received(const struct arena_header *header)
{
    return header->received.msg_len;
}

uint32_t exact_sent(const struct arena_header *header)
{
    return header->sent.msg_len;
}
