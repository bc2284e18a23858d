/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/admit.h"

#include "common/origin.h"
#include "common/siphash.h"
#include "shm/board_gauge.h"
#include "shm/board_pace.h"
#include "worker/request.h"
#include "worker/template.h"

#include <errno.h>

enum {
    KEY_MAX = 2048,   /* bytes of a client's key that count, scope included */
    RETRY_FULL_S = 5, /* when nobody can know when there will be room: 5 to 10 s */
    RETRY_SPREAD = 4, /* a time that is known is spread over a quarter more */
    US_A_SECOND = 1000000,
};

static uint64_t now_us(const struct worker *w)
{
    return w->mono_ms * 1000;
}

/* Below `limit`; other for every request, so that those who are sent away do not come back together. */
static uint64_t jitter(const struct request *r, uint64_t limit)
{
    const struct worker *w = r->client->conn.w;
    const uint64_t seed[3] = {w->real_ms, (uint64_t)r->client->conn.fd, (uintptr_t)r};
    uint64_t hash =
        siphash(w->board->header->hash_key, (struct slice){(const char *)seed, sizeof seed});
    return limit == 0 ? 0 : hash % limit;
}

static bool refuse(struct request *r, uint16_t status, enum reason reason, uint64_t retry_us)
{
    uint64_t spread_us = retry_us + jitter(r, retry_us / RETRY_SPREAD + 1);
    r->retry_s = (uint32_t)((spread_us + US_A_SECOND - 1) / US_A_SECOND);
    request_refuse(r, status, reason);
    return false;
}

static uint64_t retry_full_us(const struct request *r)
{
    return RETRY_FULL_S * US_A_SECOND + jitter(r, RETRY_FULL_S * US_A_SECOND);
}

/* ---- lists ---- */

bool admit_request(struct request *r)
{
    const struct image_route *route = r->route;
    if (LIKELY(route->access.count == 0 && !(route->flags & ROUTE_ALLOW_LISTED)))
        return true;
    uint8_t verdict = image_verdict(r->image, route->access, r->remote);
    if (verdict == VERDICT_ALLOW || (verdict == 0 && !(route->flags & ROUTE_ALLOW_LISTED)))
        return true;
    request_refuse(r, 403, REASON_ACCESS_DENIED);
    return false;
}

/* ---- Origin ---- */

static bool fits_one(const struct request *r, struct slice origin)
{
    const char *buf = r->head_buf.data;
    struct slice host = {buf + r->head.authority, r->head.authority_len};
    for (uint32_t i = 0; i < r->route->origins.count; i++) {
        if (origin_matches(image_text(r->image, r->route->origins, i), origin, host))
            return true;
    }
    return false;
}

static bool origin_fits(const struct request *r)
{
    const char *buf = r->head_buf.data;
    uint32_t found = 0;
    bool fits = false;
    if (r->route->origins.count == 0)
        return true;
    for (uint32_t i = 0; i < r->head.field_count; i++) {
        const struct http_field *field = &r->head.fields[i];
        if (!slice_ieq(http_field_name(buf, field), SLICE("Origin")))
            continue;
        found++;
        fits = fits_one(r, http_field_value(buf, field));
    }
    /* Two of them are nobody's. */
    return found == 0 ? !(r->route->flags & ROUTE_ORIGIN_REQUIRED) : found == 1 && fits;
}

/* ---- limits of a client ---- */

/* Who it is, as its route sees it; false: its key is too long to be counted, which is its own trick. */
static bool hash_client(const struct request *r, uint64_t *hash)
{
    char key[KEY_MAX];
    struct template_vars vars;
    struct slice scope = image_slice(r->image, r->route->client_scope);
    ASSERT(scope.n < KEY_MAX);
    memcpy(key, scope.p, scope.n);
    key[scope.n] = '\0'; /* no scope and key run together to be another's */
    request_vars(r, &vars);
    int n = template_eval(r->image, r->route->client_key, &vars, key + scope.n + 1,
                          KEY_MAX - scope.n - 1);
    if (n < 0)
        return false;
    *hash = siphash(r->client->conn.w->board->header->hash_key,
                    (struct slice){key, scope.n + 1 + (size_t)n});
    return true;
}

static bool admit_client(struct request *r)
{
    const struct image_route *route = r->route;
    struct worker *w = r->client->conn.w;
    uint64_t hash;
    if (route->client_max_tunnels == 0 && route->client_pace.interval_us == 0)
        return true;
    if (!hash_client(r, &hash))
        return refuse(r, 429, REASON_CLIENT_RATE, retry_full_us(r));
    if (route->client_pace.interval_us != 0) {
        int64_t wait = board_pace_take_client(w->board, hash, &route->client_pace, now_us(w));
        if (wait > 0)
            return refuse(r, 429, REASON_CLIENT_RATE, (uint64_t)wait);
        if (wait < 0)
            worker_count(w, COUNTER_CLIENTS_UNCOUNTED);
    }
    if (route->client_max_tunnels != 0) {
        int rc = board_gauge_enter_client(w->board, w->slot, hash, route->client_max_tunnels,
                                          &r->client_gauge);
        if (rc == -EBUSY)
            return refuse(r, 429, REASON_CLIENT_TUNNELS, retry_full_us(r));
        if (rc < 0)
            worker_count(w, COUNTER_CLIENTS_UNCOUNTED);
    }
    return true;
}

/* ---- max_tunnels ---- */

static bool enter_all(struct request *r)
{
    const struct worker *w = r->client->conn.w;
    const struct {
        uint32_t gauge;
        uint32_t limit;
    } gauges[] = {
        {GAUGE_ALL, r->image->header->front.max_tunnels},
        {GAUGE_SITES + r->site->board_site, r->site->max_tunnels},
        {GAUGE_UPSTREAMS + r->upstream->board_upstream, r->upstream->max_tunnels},
    };
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
        if (board_gauge_enter(w->board, w->slot, gauges[i].gauge, gauges[i].limit))
            continue;
        while (i-- > 0)
            board_gauge_leave(w->board, w->slot, gauges[i].gauge);
        return false;
    }
    r->gauged = true;
    return true;
}

void admit_leave(struct request *r)
{
    const struct worker *w = r->client->conn.w;
    if (r->client_gauge != 0)
        board_gauge_leave(w->board, w->slot, r->client_gauge);
    r->client_gauge = 0;
    if (!r->gauged)
        return;
    r->gauged = false;
    board_gauge_leave(w->board, w->slot, GAUGE_ALL);
    board_gauge_leave(w->board, w->slot, GAUGE_SITES + r->site->board_site);
    board_gauge_leave(w->board, w->slot, GAUGE_UPSTREAMS + r->upstream->board_upstream);
}

/* ---- pace ---- */

/* Take a turn; false: it waits for it, or was refused. */
static bool take_turn(struct request *r, uint32_t index, const struct pace *pace)
{
    const struct worker *w = r->client->conn.w;
    int64_t wait = board_pace_take(w->board, index, pace, now_us(w));
    if (wait == 0)
        return true;
    if (wait < 0)
        return refuse(r, 503, REASON_HANDSHAKE_RATE,
                      board_pace_retry(w->board, index, pace, now_us(w)));
    r->state = REQUEST_WAITING;
    r->client_wait = WAIT_TURN;
    conn_timer_set(&r->client->conn, (uint32_t)((wait + 999) / 1000));
    return false;
}

bool admit_to_server(struct request *r)
{
    if (LIKELY(r->upstream->pace.interval_us == 0 || !r->upgrade))
        return true;
    if (r->turn_taken) { /* this is it */
        r->turn_taken = false;
        return true;
    }
    return take_turn(r, PACE_BACKENDS + r->server->backend, &r->upstream->pace);
}

void admit_turn(struct request *r)
{
    r->client_wait = WAIT_NOTHING;
    r->state = REQUEST_CONNECT;
    if (r->counted) { /* at a server: its turn there */
        r->turn_taken = true;
        dispatch_chosen(r);
    } else {
        dispatch_first(r);
    }
}

bool admit_upgrade(struct request *r)
{
    if (!origin_fits(r)) {
        request_refuse(r, 403, REASON_ORIGIN_DENIED);
        return false;
    }
    if (!admit_client(r))
        return false;
    if (!enter_all(r))
        return refuse(r, 503, REASON_MAX_TUNNELS, retry_full_us(r));
    const struct pace *pace = &r->image->header->front.pace;
    return pace->interval_us == 0 || take_turn(r, PACE_ALL, pace);
}
