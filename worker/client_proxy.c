/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/client_proxy.h"

#include "common/proxy_protocol.h"
#include "worker/conn_tls.h"
#include "worker/request.h"

#include <errno.h>
#include <sys/socket.h>

bool client_proxy_trusts(const struct image *image, const struct image_listener *listener,
                         const struct addr *peer)
{
    return image_verdict(image, listener->trusted, peer) != 0;
}

/*
 * Looked at first and taken then: what follows is TLS, or a request, and the others' to read. Each
 * piece that arrives is an edge, so looking again costs nothing between them.
 */
enum client_proxy_result client_proxy_read(struct client *client)
{
    char bytes[PROXY_HEADER_MAX];
    struct conn *conn = &client->conn;
    struct proxy_header header;
    ssize_t n = recv(conn->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return CLIENT_PROXY_MORE;
    if (n <= 0)
        return CLIENT_PROXY_REFUSED;
    int rc = proxy_protocol_parse(&header, bytes, (size_t)n);
    if (rc == 0 && !conn->hangup)
        return CLIENT_PROXY_MORE;
    if (rc <= 0 || recv(conn->fd, bytes, (size_t)rc, MSG_DONTWAIT) != rc)
        return CLIENT_PROXY_REFUSED;
    conn->rx += (uint32_t)rc;
    if (header.source.len > 0)
        client->address = header.source;
    return CLIENT_PROXY_DONE;
}

/* Where the client's connection arrived. */
static struct addr destination_of(const struct client *client)
{
    struct addr address = {.len = sizeof address.u};
    socklen_t len = address.len;
    if (getsockname(client->conn.fd, &address.u.sa, &len) < 0)
        return (struct addr){.len = 0};
    address.len = len;
    addr_unmap(&address);
    return address;
}

static struct proxy_tls tls_of(const struct client *client)
{
    const struct conn_tls *tls = client->conn.tls;
    if (!tls)
        return (struct proxy_tls){SLICE(""), false};
    return (struct proxy_tls){
        .version = tls->session.version == TLS_1_3 ? SLICE("TLSv1.3") : SLICE("TLSv1.2"),
        .verified = tls->facts.client_verified,
    };
}

int client_proxy_write(struct backend *backend)
{
    char header[PROXY_WRITE_MAX];
    const struct request *r = backend->request;
    uint32_t version = r->upstream->proxy_protocol;
    if (LIKELY(version == PROXY_PROTOCOL_OFF))
        return 0;
    const struct addr destination = destination_of(r->client);
    const struct proxy_tls tls = tls_of(r->client);
    size_t n = version == PROXY_PROTOCOL_V1
                   ? proxy_protocol_write_v1(r->remote, &destination, header)
                   : proxy_protocol_write_v2(r->remote, &destination, &tls, header);
    /* The first bytes of a connection: its buffer is empty, and takes them. */
    ssize_t sent = send(backend->conn.fd, header, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)n)
        return sent < 0 ? -errno : -EPIPE;
    backend->conn.tx += (uint32_t)n;
    backend->tx_before = backend->conn.tx;
    return 0;
}
