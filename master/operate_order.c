/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/operate_order.h"

#include "common/clock.h"
#include "common/log.h"
#include "master/drain.h"
#include "master/master.h"
#include "master/shed.h"
#include "master/slots.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct order {
    struct master *master;
    const struct operate_asker *asker;
    const char *what; /* behind the ':' */
    char *answer;
};

static void say(const struct order *order, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(const struct order *order, const char *fmt, ...)
{
    size_t used = strlen(order->answer);
    va_list args;
    va_start(args, fmt);
    vsnprintf(order->answer + used, OPERATE_ANSWER_MAX - used, fmt, args);
    va_end(args);
}

/* It is done: for the log and for `holdfast-stat events`. */
static void record(const struct order *order, const char *word, const char *what)
{
    const struct operate_asker *asker = order->asker;
    log_write(LOG_LEVEL_INFO, word, "uid=%u pid=%d name=%s %s", asker->uid, asker->pid, asker->name,
              what);
    board_event(&order->master->board, MASTER_EVENT_WRITER, "%s uid=%u pid=%d name=%s %s", word,
                asker->uid, asker->pid, asker->name, what);
}

static void record_server(const struct order *order, const char *word,
                          const struct board_backend *backend)
{
    char what[BOARD_NAME_MAX + BOARD_SERVER_MAX + 16];
    snprintf(what, sizeof what, "backend=%.*s/%.*s", BOARD_NAME_MAX, backend->upstream,
             BOARD_SERVER_MAX, backend->server);
    record(order, word, what);
}

/* ---- servers ---- */

static bool is_configured(const struct master *master, const struct board_backend *backend)
{
    return backend->used >= master->generation;
}

/* Names of an upstream's servers. */
static void list_names(const struct order *order, const char *upstream)
{
    const struct board *board = &order->master->board;
    uint32_t told = 0;
    for (uint32_t i = 0; i < BOARD_BACKENDS_MAX; i++) {
        const struct board_backend *backend = board_backend(board, i);
        if (backend->upstream[0] == '\0')
            break;
        if (is_configured(order->master, backend) && strcmp(backend->upstream, upstream) == 0)
            say(order, "%s%s", told++ > 0 ? ", " : "", backend->server);
    }
}

static void list_upstreams(const struct order *order)
{
    uint32_t told = 0;
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX; i++) {
        const struct board_upstream *upstream = board_upstream(&order->master->board, i);
        if (upstream->name[0] == '\0')
            break;
        if (upstream->used >= order->master->generation)
            say(order, "%s%s", told++ > 0 ? ", " : "", upstream->name);
    }
    if (told == 0)
        say(order, "none");
}

static bool has_upstream(const struct order *order, const char *name)
{
    for (uint32_t i = 0; i < BOARD_UPSTREAMS_MAX; i++) {
        const struct board_upstream *upstream = board_upstream(&order->master->board, i);
        if (upstream->name[0] == '\0')
            break;
        if (upstream->used >= order->master->generation && strcmp(upstream->name, name) == 0)
            return true;
    }
    return false;
}

/* UPSTREAM/SERVER as holdfast-stat prints them. NULL after an answer that says what there is. */
static struct board_backend *find_server(const struct order *order, uint32_t *index)
{
    const struct board *board = &order->master->board;
    char upstream[BOARD_NAME_MAX];
    const char *slash = strchr(order->what, '/');
    if (!slash || slash == order->what || (size_t)(slash - order->what) >= sizeof upstream) {
        say(order, "error \"%s\" is no UPSTREAM/SERVER", order->what);
        return NULL;
    }
    snprintf(upstream, sizeof upstream, "%.*s", (int)(slash - order->what), order->what);
    for (*index = 0; *index < BOARD_BACKENDS_MAX; ++*index) {
        struct board_backend *backend = board_backend(board, *index);
        if (backend->upstream[0] == '\0')
            break;
        if (strcmp(backend->upstream, upstream) == 0 && strcmp(backend->server, slash + 1) == 0 &&
            (is_configured(order->master, backend) || board_backend_tunnels(board, *index) > 0))
            return backend;
    }
    if (has_upstream(order, upstream)) {
        say(order, "error no such server; upstream %s has: ", upstream);
        list_names(order, upstream);
    } else {
        say(order, "error no such upstream; there are: ");
        list_upstreams(order);
    }
    return NULL;
}

/* Does any server of the upstream still get new tunnels? */
static bool some_take(const struct order *order, const char *upstream)
{
    const uint32_t away = BACKEND_DOWN | BACKEND_DRAINS;
    for (uint32_t i = 0; i < BOARD_BACKENDS_MAX; i++) {
        const struct board_backend *backend = board_backend(&order->master->board, i);
        if (backend->upstream[0] == '\0')
            break;
        if (is_configured(order->master, backend) && strcmp(backend->upstream, upstream) == 0 &&
            !(backend->flags & away))
            return true;
    }
    return false;
}

/* What stands on the board has changed. */
static void tell_workers(const struct order *order)
{
    board_wave_tell(&order->master->board);
    slots_want_again(order->master);
}

static void drain(const struct order *order)
{
    uint32_t index;
    struct board_backend *backend = find_server(order, &index);
    if (!backend)
        return;
    if (backend->flags & BACKEND_TOLD_DRAIN) {
        say(order, "ok %s drains already", order->what);
        return;
    }
    if (!is_configured(order->master, backend)) {
        say(order, "error %s is not in the configuration any more", order->what);
        return;
    }
    STORE_RELAXED(&backend->flags, backend->flags | BACKEND_TOLD_DRAIN);
    (void)drain_begin(backend, order->master->conf->drain_window_ms);
    tell_workers(order);
    record_server(order, "operator_drain", backend);
    say(order, "ok %s drains; it has %u tunnels", order->what,
        board_backend_tunnels(&order->master->board, index));
    if (backend->drain_timeout_ms != 0)
        say(order, ", which are closed within %u s", (backend->drain_timeout_ms + 999) / 1000);
    if (!some_take(order, backend->upstream))
        say(order, "; no other server of %s takes new ones", backend->upstream);
}

static void undrain(const struct order *order)
{
    struct master *master = order->master;
    struct shed_before before;
    uint32_t index;
    struct board_backend *backend = find_server(order, &index);
    if (!backend)
        return;
    bool by_configuration = backend->flags & BACKEND_DRAIN;
    if (!(backend->flags & BACKEND_TOLD_DRAIN)) {
        say(order,
            by_configuration ? "error %s drains by the configuration" : "ok %s does not drain",
            order->what);
        return;
    }
    shed_note(&master->board, master->generation, &before);
    STORE_RELAXED(&backend->flags, backend->flags & ~(uint32_t)BACKEND_TOLD_DRAIN);
    record_server(order, "operator_undrain", backend);
    if (by_configuration) {
        say(order, "ok, but %s goes on to drain by the configuration", order->what);
    } else if (!is_configured(master, backend)) {
        say(order, "ok, but %s is not in the configuration any more", order->what);
    } else {
        (void)drain_end(backend);
        STORE_RELAXED(&backend->recovered_ms, clock_mono_ms());
        shed_begin(&master->board, master->generation, &before);
        say(order, "ok %s takes new tunnels", order->what);
    }
    tell_workers(order);
}

static void close_server(const struct order *order)
{
    struct master *master = order->master;
    uint32_t index;
    struct board_backend *backend = find_server(order, &index);
    if (!backend)
        return;
    const struct board_wave wave = {.from_ms = clock_mono_ms(),
                                    .opened_before_real_ms = clock_real_ms() + 1,
                                    .for_ms = master->conf->drain_window_ms,
                                    .share = BOARD_WAVE_ALL,
                                    .mark = REASON_CLOSED_BY_OPERATOR};
    uint32_t tunnels = board_backend_tunnels(&master->board, index);
    board_wave_set(&backend->wave, &wave);
    tell_workers(order);
    record_server(order, "operator_close_server", backend);
    say(order, "ok %u tunnels of %s are closed within %u s", tunnels, order->what,
        (wave.for_ms + 999) / 1000);
}

/* ---- tunnels ---- */

/* Does an open tunnel have this id? */
static bool is_open(const struct board *board, uint64_t id)
{
    struct board_tunnel_place at = board_tunnel_place(id);
    if (at.slot >= BOARD_SLOTS_MAX || at.tunnel >= board->tunnels_max)
        return false;
    return LOAD_ACQUIRE(&board_tunnel(board, at.slot, at.tunnel)->id) == id;
}

/* Is the order to close this tunnel one that nobody needs any more? */
static bool is_done(const struct master *master, uint32_t place)
{
    const struct board *board = &master->board;
    uint64_t id = board->header->close_ids[place];
    uint32_t slot = board_tunnel_place(id).slot;
    return !is_open(board, id) ||
           LOAD_ACQUIRE(&board_slot(board, slot)->applied_seq) >= master->operate.close_seq[place];
}

void operate_order_settle(struct master *master)
{
    for (uint32_t i = 0; i < BOARD_CLOSE_IDS; i++) {
        if (master->board.header->close_ids[i] != 0 && is_done(master, i))
            STORE_RELAXED(&master->board.header->close_ids[i], 0);
    }
}

void operate_order_inherit(struct master *master)
{
    for (uint32_t i = 0; i < BOARD_CLOSE_IDS; i++) {
        uint32_t slot = board_tunnel_place(master->board.header->close_ids[i]).slot;
        master->operate.close_seq[i] = slot < BOARD_SLOTS_MAX ? master->slots[slot].seq : 0;
    }
}

/* The place with this tunnel, or one that is free; BOARD_CLOSE_IDS: none is. */
static uint32_t place_for(const struct master *master, uint64_t id)
{
    uint32_t place = BOARD_CLOSE_IDS;
    for (uint32_t i = 0; i < BOARD_CLOSE_IDS; i++) {
        uint64_t named = master->board.header->close_ids[i];
        if (named == id)
            return i;
        if (named == 0)
            place = i;
    }
    return place;
}

static void close_tunnel(const struct order *order)
{
    struct master *master = order->master;
    char *end;
    errno = 0;
    uint64_t id = strtoull(order->what, &end, 16);
    if (errno != 0 || end == order->what || *end != '\0' || id == 0) {
        say(order, "error \"%s\" is no number of a tunnel, as holdfast-stat tunnels shows them",
            order->what);
        return;
    }
    if (!is_open(&master->board, id)) {
        say(order, "error no such tunnel: %s is not open, or not any more", order->what);
        return;
    }
    uint32_t place = place_for(master, id);
    if (place == BOARD_CLOSE_IDS) {
        say(order, "error busy: workers have not followed earlier orders yet; try again");
        return;
    }
    char what[32];
    snprintf(what, sizeof what, "tunnel=%llx", (unsigned long long)id);
    /*
     * Death before workers are told: they see the name when they next look, unless our successor, who waits
     * for what was sent last, has taken it away. The asker has had no "ok".
     */
    STORE_RELAXED(&master->board.header->close_ids[place], id);
    tell_workers(order);
    master->operate.close_seq[place] = master->slots[board_tunnel_place(id).slot].seq;
    record(order, "operator_close", what);
    say(order, "ok %s is being closed", what);
}

static const struct {
    const char *word;
    void (*run)(const struct order *order);
} verbs[] = {
    {"drain", drain},
    {"undrain", undrain},
    {"close", close_tunnel},
    {"close-server", close_server},
};

void operate_order(struct master *master, const struct operate_asker *asker, const char *request,
                   char answer[OPERATE_ANSWER_MAX])
{
    const char *colon = strchr(request, ':');
    size_t length = colon ? (size_t)(colon - request) : strlen(request);
    const struct order order = {
        .master = master, .asker = asker, .what = colon ? colon + 1 : "", .answer = answer};
    answer[0] = '\0';
    if (master->phase != MASTER_RUNNING) {
        say(&order, "error Holdfast is %s",
            master->phase == MASTER_STARTING ? "starting: try again" : "ending");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs) && colon; i++) {
        if (strlen(verbs[i].word) == length && strncmp(request, verbs[i].word, length) == 0) {
            verbs[i].run(&order);
            return;
        }
    }
    say(&order, "error no such order; there are: drain:, undrain:, close:, close-server:");
}
