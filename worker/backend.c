/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/backend.h"

#include "worker/client_proxy.h"
#include "worker/conn_tls.h"
#include "worker/request.h"
#include "worker/tls_context.h"
#include "worker/tunnel_tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    KEPT_MS = 60000,    /* as nginx's keepalive_timeout of an upstream */
    TLS_NAME_MAX = 256, /* a host name has 253 characters at most */
};

/* ---- TLS ---- */

/* The session that may be resumed with the backend, borrowed; NULL: none. */
static struct ssl_session_st *find_session(struct backend *backend)
{
    struct worker *w = backend->conn.w;
    if (!w->resume)
        w->resume = tls_resume_new();
    backend->conn.tls->claim.backend = backend->index;
    return tls_resume_find(w->resume, &backend->conn.tls->claim, w->mono_ms);
}

/* Its handshake failed, or was too slow: by a session that it cannot bear? */
static void forget_session(struct backend *backend)
{
    tls_resume_forget(backend->conn.w->resume, backend->index);
}

/* Connected: the TLS handshake begins if the upstream wants one, else requests may go. */
static int begin_tls(struct backend *backend)
{
    struct request *request = backend->request;
    struct worker *w = backend->conn.w;
    char name[TLS_NAME_MAX];
    if (!(request->upstream->tls_flags & UPSTREAM_TLS))
        return 0;
    struct ssl_ctx_st *context =
        request->tls ? tls_contexts_backend(request->tls, request->route->upstream) : NULL;
    if (!context || tunnel_tls_engine(w) < 0 || conn_tls_new(&backend->conn) < 0)
        return -ENOMEM;
    struct slice text = image_slice(request->image, request->server->tls_name);
    snprintf(name, sizeof name, "%.*s", (int)text.n, text.p);
    struct conn_tls *tls = backend->conn.tls;
    tls->contexts = tls_contexts_acquire(request->tls);
    if (tls_contexts_mark(request->tls, request->route->upstream, request->server,
                          &tls->claim.mark) < 0)
        return -ENOMEM;
    const char *why;
    tls->handshake = tls_handshake_connect(context, name, find_session(backend));
    int rc = tls->handshake ? tls_handshake_feed(tls->handshake, NULL, 0, &why) : -ENOMEM;
    if (rc < 0)
        forget_session(backend);
    return rc < 0 ? rc : 1;
}

static void connected(struct backend *backend)
{
    int rc = client_proxy_write(backend);
    if (rc == 0)
        rc = begin_tls(backend);
    if (rc < 0)
        backend->conn.error = -rc;
    backend->state = rc > 0 ? BACKEND_SHAKING : BACKEND_BUSY;
}

static void shake_hands(struct backend *backend)
{
    struct conn *conn = &backend->conn;
    struct worker *w = conn->w;
    const char *why = "";
    enum conn_tls_result result = conn_tls_shake(conn, &why);
    if (result == CONN_TLS_MORE)
        return;
    backend->tx_before = conn->tx;
    if (result == CONN_TLS_DONE) {
        backend->state = BACKEND_BUSY;
        worker_count(w, COUNTER_BACKEND_TLS_DONE);
        if (conn->tls->facts.resumed)
            worker_count(w, COUNTER_BACKEND_TLS_RESUMED);
        return;
    }
    struct board_backend *shown = board_backend(w->board, backend->index);
    log_limited(&w->limit_backend, LOG_LEVEL_WARN, "backend_tls", "backend=%.*s/%.*s why=\"%s\"",
                BOARD_NAME_MAX, shown->upstream, BOARD_SERVER_MAX, shown->server, why);
    forget_session(backend);
    conn->error = EPROTO;
}

/* ---- connecting ---- */

static int set_options(int fd, const struct addr *address)
{
    int one = 1;
    if (address->u.sa.sa_family == AF_UNIX)
        return 0;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one) < 0)
        return -errno;
    return 0;
}

/*
 * Without IP_BIND_ADDRESS_NO_PORT bind would take a port for all destinations at once; with it the
 * port is chosen at connect, and each destination has the whole range.
 */
static int bind_source(int fd, const struct addr *source)
{
    int one = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) < 0 ||
        bind(fd, &source->u.sa, source->len) < 0)
        return -errno;
    return 0;
}

/* A socket that connects from `source` (NULL: the kernel's choice); *connected if it is done already. */
static int start_connect(struct worker *w, const struct addr *address, const struct addr *source,
                         bool *connected)
{
    conn_expect_fd(w);
    int fd = socket(address->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        conn_no_fd(w);
        return -errno;
    }
    int rc = set_options(fd, address);
    if (rc == 0 && source)
        rc = bind_source(fd, source);
    if (rc == 0 && connect(fd, &address->u.sa, address->len) < 0 && errno != EINPROGRESS)
        rc = -errno;
    else if (rc == 0)
        *connected = errno != EINPROGRESS;
    if (rc < 0) {
        close(fd);
        conn_no_fd(w);
        return rc;
    }
    return fd;
}

/* Try the source addresses in turn, beginning with the next, until one has a port left. */
static int connect_from_sources(struct request *request, const struct image_upstream *upstream,
                                const struct addr *address, bool *connected)
{
    struct worker *w = request->client->conn.w;
    uint32_t count = address->u.sa.sa_family == AF_UNIX ? 0 : upstream->sources.count;
    errno = 0;
    if (count == 0)
        return start_connect(w, address, NULL, connected);
    int rc = -EADDRNOTAVAIL;
    uint32_t first = w->source_next++;
    for (uint32_t i = 0; i < count && rc == -EADDRNOTAVAIL; i++) {
        const struct addr *source =
            image_upstream_source(request->image, upstream, (first + i) % count);
        if (source->u.sa.sa_family != address->u.sa.sa_family)
            continue;
        errno = 0;
        rc = start_connect(w, address, source, connected);
    }
    return rc;
}

int backend_connect(struct request *request, const struct image_upstream *upstream,
                    const struct image_server *server, struct backend **out)
{
    struct worker *w = request->client->conn.w;
    struct backend *backend = calloc(1, sizeof *backend);
    if (!backend)
        return -ENOMEM;
    bool now = false; /* a UNIX socket may be connected at once */
    int fd = connect_from_sources(request, upstream, &server->address, &now);
    int rc = fd < 0 ? fd : conn_open(w, &backend->conn, fd, CONN_BACKEND);
    if (rc < 0) {
        if (fd >= 0) {
            close(fd);
            conn_no_fd(w);
        }
        free(backend);
        return rc;
    }
    worker_count(w, COUNTER_BACKEND_CONNECTS);
    struct board_cell *cell = board_cell(w->board, w->slot, server->backend);
    STORE_RELAXED(&cell->connects, cell->connects + 1);
    backend->index = server->backend;
    backend->upstream = upstream->board_upstream;
    backend->request = request;
    backend->conn.writable = now;
    backend->conn.unix_socket = server->address.u.sa.sa_family == AF_UNIX;
    backend->state = BACKEND_CONNECTING;
    if (now)
        connected(backend);
    if (backend->state == BACKEND_SHAKING)
        shake_hands(backend);
    *out = backend;
    return 0;
}

/* ---- kept connections ---- */

static struct kept_list *list_of(struct worker *w, uint32_t upstream)
{
    ASSERT(upstream < BOARD_UPSTREAMS_MAX);
    return &w->kept[upstream];
}

static void kept_unlink(struct backend *backend)
{
    struct worker *w = backend->conn.w;
    struct kept_list *list = list_of(w, backend->upstream);
    if (backend->kept_newer)
        backend->kept_newer->kept_older = backend->kept_older;
    else
        list->newest = backend->kept_older;
    if (backend->kept_older)
        backend->kept_older->kept_newer = backend->kept_newer;
    else
        list->oldest = backend->kept_newer;
    list->count--;
    STORE_RELAXED(&w->me->backend_idle, w->me->backend_idle - 1);
}

static void kept_link(struct backend *backend)
{
    struct worker *w = backend->conn.w;
    struct kept_list *list = list_of(w, backend->upstream);
    backend->kept_newer = NULL;
    backend->kept_older = list->newest;
    if (list->newest)
        list->newest->kept_newer = backend;
    else
        list->oldest = backend;
    list->newest = backend;
    list->count++;
    STORE_RELAXED(&w->me->backend_idle, w->me->backend_idle + 1);
}

static void bury(struct backend *backend)
{
    if (backend->state == BACKEND_KEPT)
        kept_unlink(backend);
    backend->state = BACKEND_CLOSED;
    backend->request = NULL;
    conn_bury(&backend->conn);
}

void backend_close(struct backend *backend, bool abort)
{
    conn_close(&backend->conn, abort);
    bury(backend);
}

void backend_became_tunnel(struct backend *backend)
{
    conn_close(&backend->conn, false); /* the descriptor is detached: buffers only */
    bury(backend);
}

/*
 * Nothing has come since its last answer: bytes behind that one, the end, or a reset, all of which the
 * next request would take for its own. Its event tells, but not of what had come when it was kept, and
 * maybe only later in this loop turn.
 */
static bool is_silent(const struct backend *backend)
{
    char byte;
    return recv(backend->conn.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Does it go by the configuration that is in force? By another one its server may want TLS, or another name. */
static bool is_current(const struct request *request)
{
    return request->image == request->client->conn.w->image;
}

struct backend *backend_take_kept(struct request *request, const struct image_server *server)
{
    struct worker *w = request->client->conn.w;
    struct kept_list *list = list_of(w, request->upstream->board_upstream);
    struct backend *older;
    if (!is_current(request))
        return NULL;
    for (struct backend *b = list->newest; b; b = older) {
        older = b->kept_older;
        if (b->index != server->backend)
            continue;
        if (!is_silent(b)) {
            backend_close(b, false);
            continue;
        }
        kept_unlink(b);
        b->state = BACKEND_BUSY;
        b->request = request;
        b->reused = true;
        b->tx_before = b->conn.tx;
        conn_timer_clear(&b->conn);
        worker_count(w, COUNTER_BACKEND_REUSED);
        return b;
    }
    return NULL;
}

void backend_keep(struct backend *backend, uint32_t limit)
{
    struct worker *w = backend->conn.w;
    struct kept_list *list = list_of(w, backend->upstream);
    bool spoke = backend->conn.tls && (buf_len(&backend->conn.tls->wire_in) > 0 ||
                                       buf_len(&backend->conn.tls->plain) > 0);
    if (limit == 0 || !worker_keeps_clients(w) || !is_current(backend->request) || spoke) {
        backend_close(backend, false);
        return;
    }
    if (list->count >= limit)
        backend_close(list->oldest, false);
    backend->state = BACKEND_KEPT;
    backend->request = NULL;
    kept_link(backend);
    conn_timer_set(&backend->conn, KEPT_MS);
}

void backend_close_kept(struct worker *w)
{
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX; i++) {
        while (w->kept[i].newest)
            backend_close(w->kept[i].newest, false);
    }
}

/* ---- events ---- */

/* The kernel says how connect ended. */
static void connect_ended(struct backend *backend, uint32_t events)
{
    struct conn *conn = &backend->conn;
    socklen_t len = sizeof conn->error;
    if (events & (EPOLLERR | EPOLLHUP) &&
        (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &conn->error, &len) < 0 || conn->error == 0))
        conn->error = ECONNREFUSED;
    if (conn->error == 0)
        connected(backend);
}

void backend_event(struct backend *backend, uint32_t events)
{
    struct request *request = backend->request;
    conn_note_events(&backend->conn, events);
    switch ((enum backend_state)backend->state) {
    case BACKEND_KEPT:
        /*
         * It closes, or speaks without being asked: neither may meet the next request. An event may be
         * older than the end of the last one, and tell of bytes that were read.
         */
        if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR) && !is_silent(backend))
            backend_close(backend, false);
        return;
    case BACKEND_CONNECTING:
        if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
            return;
        connect_ended(backend, events);
        if (backend->state == BACKEND_SHAKING)
            shake_hands(backend);
        break;
    case BACKEND_SHAKING: shake_hands(backend); break;
    case BACKEND_BUSY: break;
    case BACKEND_CLOSED: return;
    }
    struct client *client = request->client;
    request_run(request);
    client_continue(client);
}

void backend_timer(struct backend *backend)
{
    if (backend->state == BACKEND_KEPT) {
        backend_close(backend, false);
        return;
    }
    if (backend->state == BACKEND_CLOSED)
        return;
    if (backend->state == BACKEND_SHAKING)
        forget_session(backend);
    struct client *client = backend->request->client;
    request_backend_timer(backend->request);
    client_continue(client);
}
