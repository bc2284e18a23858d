/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "master/checker_targets.h"

#include "common/clock.h"
#include "common/log.h"
#include "master/checker.h"
#include "master/checker_probe.h"
#include "master/checker_tls.h"
#include "shm/passive.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>

enum { WAIT_MAX_MS = 1000 };

struct checker_target {
    uint32_t number; /* of the upstream */
    const struct image_upstream *upstream;
    const struct image_server *server;
    struct checker_probe *probe; /* NULL between two checks */
    uint64_t due_ms;             /* when to begin the next one, or to give up this one */
};

/* A number below `n`, by chance: spreads checks, keeps no secret. */
static uint32_t draw(uint32_t n)
{
    uint32_t value = 0;
    (void)!getrandom(&value, sizeof(value), GRND_NONBLOCK);
    return n > 0 ? value % n : 0;
}

static struct board_backend *backend_of(const struct checker_targets *t,
                                        const struct checker_target *target)
{
    return board_backend(t->board, target->server->backend);
}

/* ---- what a check comes to ---- */

static void change(struct checker_targets *t, struct checker_target *target,
                   enum backend_health health, const char *why)
{
    struct board_backend *backend = backend_of(t, target);
    enum backend_health before = (enum backend_health)backend->health;
    struct slice upstream = image_slice(t->image, target->upstream->name);
    struct slice server = image_slice(t->image, target->server->text);
    const char *word = health == BACKEND_FAILING ? "backend_failing" : "backend_healthy";
    STORE_RELAXED(&backend->since_real_ms, clock_real_ms());
    if (before == BACKEND_FAILING) {
        /* Its checks have just shown that it works: failures of its past say nothing more. */
        (void)passive_answered(backend, (struct passive_limits){0});
        STORE_RELAXED(&backend->recovered_ms, clock_mono_ms());
    }
    STORE_RELEASE(&backend->health, (uint32_t)health);
    log_write(before == BACKEND_UNCHECKED && health == BACKEND_UP ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
              word, "backend=%.*s/%.*s why=\"%s\"", (int)upstream.n, upstream.p, (int)server.n,
              server.p, why);
    board_event(t->board, CHECKER_EVENT_WRITER, "%s backend=%.*s/%.*s why=%s", word,
                (int)upstream.n, upstream.p, (int)server.n, server.p, why);
}

/* Does this many like results in a row change that health? The first good one of all is enough. */
static void judge(struct checker_targets *t, struct checker_target *target, const char *why)
{
    const struct board_check *check = board_check(t->board, target->server->backend);
    const struct image_health *health = &target->upstream->health;
    uint32_t now = backend_of(t, target)->health;
    if (check->good && now == BACKEND_UNCHECKED)
        change(t, target, BACKEND_UP, why);
    else if (check->good && now == BACKEND_FAILING && check->streak >= health->rise)
        change(t, target, BACKEND_UP, why);
    else if (!check->good && now != BACKEND_FAILING && check->streak >= health->fall)
        change(t, target, BACKEND_FAILING, why);
}

/* Until the next check: less while its results are not those of its health. */
static uint32_t pause_ms(const struct checker_targets *t, const struct checker_target *target)
{
    const struct image_health *health = &target->upstream->health;
    bool good = board_check(t->board, target->server->backend)->good;
    bool settled =
        backend_of(t, target)->health == (good ? (uint32_t)BACKEND_UP : (uint32_t)BACKEND_FAILING);
    uint32_t ms = settled ? health->interval_ms : health->fast_interval_ms;
    return ms - ms / 10 + draw(ms / 5);
}

static void finish(struct checker_targets *t, struct checker_target *target,
                   enum checker_verdict verdict)
{
    struct board_check *check = board_check(t->board, target->server->backend);
    uint32_t good = verdict == CHECKER_GOOD;
    const char *why = target->probe ? checker_probe_why(target->probe) : "out of memory";
    bool same = check->checks > 0 && check->good == good;
    STORE_RELAXED(&check->streak, same ? check->streak + 1 : 1);
    STORE_RELAXED(&check->good, good);
    STORE_RELAXED(&check->checks, check->checks + 1);
    STORE_RELAXED(&check->failed, check->failed + !good);
    if (target->probe)
        STORE_RELAXED(&check->latency_us, checker_probe_latency_us(target->probe));
    snprintf(check->reason, sizeof(check->reason), "%s", why);
    STORE_RELEASE(&check->checked_real_ms, clock_real_ms());
    judge(t, target, why);
    checker_probe_end(&target->probe);
    target->due_ms = clock_mono_ms() + pause_ms(t, target);
}

/* ---- checks under way ---- */

static void watch(struct checker_targets *t, struct checker_target *target, int op)
{
    struct epoll_event event = {.events = checker_probe_wants(target->probe),
                                .data.u64 = (uint64_t)(target - t->items)};
    if (epoll_ctl(t->epoll, op, checker_probe_fd(target->probe), &event) < 0)
        log_write(LOG_LEVEL_ERROR, "check_unwatched", "error=%d", errno); /* it will time out */
}

static void begin(struct checker_targets *t, struct checker_target *target)
{
    const struct image_health *health = &target->upstream->health;
    struct slice host = image_slice(t->image, health->host);
    const struct checker_plan plan = {
        .address = &target->server->address,
        .health = health,
        .tls = target->upstream->tls_flags & UPSTREAM_TLS ? t->tls : NULL,
        .tls_name = image_slice(t->image, target->server->tls_name),
        .upstream = target->number,
        .method = image_slice(t->image, health->method),
        .path = image_slice(t->image, health->path),
        .host = host.n > 0 ? host
                : target->server->address.u.sa.sa_family == AF_UNIX
                    ? SLICE("localhost")
                    : image_slice(t->image, target->server->text),
    };
    enum checker_verdict verdict = checker_probe_begin(&target->probe, &plan);
    target->due_ms = clock_mono_ms() + health->timeout_ms;
    if (verdict == CHECKER_MORE)
        watch(t, target, EPOLL_CTL_ADD);
    else
        finish(t, target, verdict);
}

void checker_targets_event(struct checker_targets *t, uint64_t number, uint32_t events)
{
    if (number >= t->count || !t->items[number].probe)
        return;
    struct checker_target *target = &t->items[number];
    enum checker_verdict verdict = checker_probe_event(target->probe, events);
    if (verdict == CHECKER_MORE)
        watch(t, target, EPOLL_CTL_MOD);
    else
        finish(t, target, verdict);
}

int checker_targets_run(struct checker_targets *t)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t next_ms = now_ms + WAIT_MAX_MS;
    for (uint32_t i = 0; i < t->count; i++) {
        struct checker_target *target = &t->items[i];
        if (now_ms >= target->due_ms && target->probe)
            finish(t, target, checker_probe_timeout(target->probe));
        else if (now_ms >= target->due_ms)
            begin(t, target);
        if (target->due_ms < next_ms)
            next_ms = target->due_ms;
    }
    now_ms = clock_mono_ms();
    return next_ms > now_ms ? (int)(next_ms - now_ms) : 0;
}

/* ---- another configuration ---- */

static bool is_checked(const struct image_upstream *upstream, const struct image_server *server)
{
    return upstream->health.type != HEALTH_OFF && !(server->flags & BACKEND_DOWN);
}

/* Servers to check in an image, written to `items` unless that is NULL. Returns how many there are. */
static uint32_t list(const struct image *image, struct checker_target *items)
{
    uint32_t count = 0;
    for (uint32_t u = 0; u < image->header->upstreams.count; u++) {
        const struct image_upstream *upstream = image_upstream(image, u);
        for (uint32_t s = 0; s < upstream->servers.count; s++) {
            const struct image_server *server = image_upstream_server(image, upstream, s);
            if (!is_checked(upstream, server))
                continue;
            if (items)
                items[count] =
                    (struct checker_target){.number = u, .upstream = upstream, .server = server};
            count++;
        }
    }
    return count;
}

/* Whose health nobody watches: what it was says nothing about now. */
static void forget_others(struct checker_targets *t)
{
    uint8_t *checked = calloc(BOARD_BACKENDS_MAX, 1);
    for (uint32_t i = 0; i < t->count && checked; i++)
        checked[t->items[i].server->backend] = 1;
    for (uint32_t i = 0; checked && i < BOARD_BACKENDS_MAX; i++) {
        struct board_backend *backend = board_backend(t->board, i);
        if (backend->upstream[0] == '\0')
            break;
        if (checked[i] || backend->health == BACKEND_UNCHECKED)
            continue;
        STORE_RELAXED(&backend->since_real_ms, clock_real_ms());
        STORE_RELEASE(&backend->health, (uint32_t)BACKEND_UNCHECKED);
        memset(board_check(t->board, i), 0, sizeof(struct board_check));
    }
    free(checked);
}

int checker_targets_use(struct checker_targets *t, struct image *image,
                        struct checker_tls_contexts *tls)
{
    uint64_t now_ms = clock_mono_ms();
    uint32_t count = list(image, NULL);
    struct checker_target *items = calloc(count + 1u, sizeof(*items));
    if (!items)
        return -ENOMEM;
    for (uint32_t i = 0; i < t->count; i++)
        checker_probe_end(&t->items[i].probe);
    free(t->items);
    checker_tls_contexts_free(&t->tls);
    image_release(&t->image);
    t->items = items;
    t->count = list(image, items);
    t->image = image;
    t->tls = tls;
    /* Soon, but not at once: many hosts may have been started or reloaded together. */
    for (uint32_t i = 0; i < count; i++)
        items[i].due_ms = now_ms + draw(items[i].upstream->health.fast_interval_ms);
    forget_others(t);
    return 0;
}
