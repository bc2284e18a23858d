/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol header that a client's connection begins with, before TLS, and that a server's does. */
#ifndef WORKER_CLIENT_PROXY_H
#define WORKER_CLIENT_PROXY_H

#include "shm/image.h"

#include <stdbool.h>

struct backend;
struct client;

enum client_proxy_result {
    CLIENT_PROXY_MORE,    /* the header is not whole yet */
    CLIENT_PROXY_DONE,    /* client->address is whom it names; what follows it waits unread */
    CLIENT_PROXY_REFUSED, /* no header, a broken one, or the end */
};

/* May a peer at this address say who its client is? */
bool client_proxy_trusts(const struct image *image, const struct image_listener *listener,
                         const struct addr *peer);

enum client_proxy_result client_proxy_read(struct client *client);

/*
 * The first bytes of a connection to a server that has just been made, for its request's client. Nothing
 * if its upstream wants none. Returns 0 or -errno.
 */
int client_proxy_write(struct backend *backend) MUST_CHECK;

#endif
