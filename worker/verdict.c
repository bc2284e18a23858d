/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/verdict.h"

#include "shm/passive.h"

#include <stdio.h>

static struct passive_limits limits_of(const struct request *r)
{
    return (struct passive_limits){r->server->max_fails, r->server->fail_timeout_ms};
}

const char *verdict_name(const struct request *r, char out[VERDICT_NAME_MAX])
{
    struct slice upstream = image_slice(r->image, r->upstream->name);
    struct slice server = image_slice(r->image, r->server->text);
    snprintf(out, VERDICT_NAME_MAX, "%.*s/%.*s", (int)upstream.n, upstream.p, (int)server.n,
             server.p);
    return out;
}

void verdict_failed(struct request *r, enum reason reason)
{
    struct worker *w = r->client->conn.w;
    struct board_backend *backend = board_backend(w->board, r->server->backend);
    char name[VERDICT_NAME_MAX];
    if (r->server->max_fails == 0 || !passive_failed(backend, limits_of(r), w->mono_ms))
        return;
    struct board_cell *cell = board_cell(w->board, w->slot, r->server->backend);
    STORE_RELAXED(&cell->ejections, cell->ejections + 1);
    STORE_RELAXED(&backend->passive_reason, (uint32_t)reason);
    STORE_RELAXED(&backend->passive_real_ms, w->real_ms);
    log_write(LOG_LEVEL_WARN, "backend_ejected", "backend=%s reason=%s fails=%u for_ms=%u",
              verdict_name(r, name), reason_word(reason), r->server->max_fails,
              r->server->fail_timeout_ms);
    board_event(w->board, 2 + w->slot, "backend_ejected backend=%s reason=%s", name,
                reason_word(reason));
}

void verdict_answered(struct request *r)
{
    struct worker *w = r->client->conn.w;
    struct board_backend *backend = board_backend(w->board, r->server->backend);
    char name[VERDICT_NAME_MAX];
    if (!passive_answered(backend, limits_of(r)))
        return;
    STORE_RELAXED(&backend->passive_real_ms, w->real_ms);
    STORE_RELAXED(&backend->recovered_ms, w->mono_ms);
    log_write(LOG_LEVEL_WARN, "backend_back", "backend=%s reason=answered", verdict_name(r, name));
    board_event(w->board, 2 + w->slot, "backend_back backend=%s reason=answered", name);
}

void verdict_panic(struct request *r)
{
    struct worker *w = r->client->conn.w;
    struct board_upstream *shown = board_upstream(w->board, r->upstream->board_upstream);
    struct slice name = image_slice(r->image, r->upstream->name);
    uint32_t now = r->pick.panic;
    if (r->pick.panic)
        worker_count(w, COUNTER_PANIC);
    /* Whoever changes it says so. */
    if (LOAD_RELAXED(&shown->panic) == now ||
        __atomic_exchange_n(&shown->panic, now, __ATOMIC_ACQ_REL) == now)
        return;
    log_write(LOG_LEVEL_WARN, now ? "panic" : "panic_over", "upstream=%.*s max_ejected=%u",
              (int)name.n, name.p, r->upstream->max_ejected);
    board_event(w->board, 2 + w->slot, "%s upstream=%.*s", now ? "panic" : "panic_over",
                (int)name.n, name.p);
}
