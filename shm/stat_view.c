/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_view.h"

#include "common/clock.h"

#include <errno.h>
#include <signal.h>

enum { READ_TRIES = 4 };

/*
 * Copy shared memory word by word, so that no number is torn. Both sides are aligned to 8 and
 * multiples of 8 long, as all structures of the board are.
 */
static void copy(void *to, const void *from, size_t size)
{
    typedef uint64_t ALIGNED(8) word __attribute__((may_alias));
    word *out = to;
    const word *in = from;
    for (size_t i = 0; i < size / sizeof *out; i++)
        out[i] = LOAD_RELAXED(&in[i]);
}

static void end_string(char *text, size_t size)
{
    text[size - 1] = '\0';
}

static enum stat_master judge_master(const struct stat_view *view)
{
    if (view->header.state == BOARD_STOPPED)
        return STAT_MASTER_STOPPED;
    /* Zero and negative numbers would ask kill() about groups of processes. */
    if (view->header.master_pid <= 0 ||
        (kill((pid_t)view->header.master_pid, 0) < 0 && errno == ESRCH))
        return STAT_MASTER_GONE;
    return view->silent_ms > STAT_SILENT_MS ? STAT_MASTER_SILENT : STAT_MASTER_RUNNING;
}

void stat_view_init(struct stat_view *view, const struct board *board, const char *name)
{
    *view = (struct stat_view){.board = board, .name = name};
    copy(&view->header, board->header, sizeof view->header);
    end_string(view->header.software, sizeof view->header.software);
    end_string(view->header.config_path, sizeof view->header.config_path);
    view->mono_ms = clock_mono_ms();
    view->real_ms = clock_real_ms();
    if (view->mono_ms > view->header.beat_ms)
        view->silent_ms = view->mono_ms - view->header.beat_ms;
    view->master = judge_master(view);
    while (view->backend_count < BOARD_BACKENDS_MAX &&
           LOAD_RELAXED(&board_backend(board, view->backend_count)->upstream[0]) != '\0')
        view->backend_count++;
    while (view->upstream_count < BOARD_UPSTREAMS_MAX &&
           LOAD_RELAXED(&board_upstream(board, view->upstream_count)->name[0]) != '\0')
        view->upstream_count++;
}

const char *stat_view_master_word(const struct stat_view *view)
{
    static const char *const words[] = {"running", "stopped", "gone", "silent"};
    return words[view->master];
}

bool stat_view_slot(const struct stat_view *view, uint32_t slot, struct board_slot *out)
{
    copy(out, board_slot(view->board, slot), sizeof *out);
    end_string(out->last_words, sizeof out->last_words);
    return out->starts != 0 || out->worker_pid != 0 || out->state != SLOT_FREE;
}

_Static_assert(offsetof(struct board_backend, used) == 0, "copy_entry looks there");
_Static_assert(offsetof(struct board_upstream, used) == 0, "copy_entry looks there");
_Static_assert(offsetof(struct board_site, used) == 0, "copy_entry looks there");
_Static_assert(offsetof(struct board_certificate, used) == 0, "copy_entry looks there");
_Static_assert(offsetof(struct board_tunnel, id) == 0, "copy_entry looks there");
_Static_assert(offsetof(struct board_event, seq) == 0, "copy_entry looks there");

enum id_size { ID_32, ID_64 };

static uint64_t load_id(const void *entry, enum id_size size)
{
    return size == ID_32 ? LOAD_ACQUIRE((const uint32_t *)entry)
                         : LOAD_ACQUIRE((const uint64_t *)entry);
}

/*
 * Copy an entry that its writer unpublishes (first field zero) before it changes hands and publishes by
 * another number: the same number before and after means that one entry was read.
 */
static bool copy_entry(void *out, const void *entry, size_t size, enum id_size id_size)
{
    for (int tries = 0; tries < READ_TRIES; tries++) {
        uint64_t before = load_id(entry, id_size);
        if (before == 0)
            return false;
        copy(out, entry, size);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (load_id(entry, id_size) == before && load_id(out, id_size) == before)
            return true;
    }
    return false;
}

bool stat_view_backend(const struct stat_view *view, uint32_t index, struct board_backend *out)
{
    if (index >= BOARD_BACKENDS_MAX ||
        !copy_entry(out, board_backend(view->board, index), sizeof *out, ID_32))
        return false;
    end_string(out->upstream, sizeof out->upstream);
    end_string(out->server, sizeof out->server);
    return true;
}

bool stat_view_upstream(const struct stat_view *view, uint32_t index, struct board_upstream *out)
{
    if (index >= BOARD_UPSTREAMS_MAX ||
        !copy_entry(out, board_upstream(view->board, index), sizeof *out, ID_32))
        return false;
    end_string(out->name, sizeof out->name);
    end_string(out->hash_key, sizeof out->hash_key);
    return true;
}

bool stat_view_site(const struct stat_view *view, uint32_t index, struct board_site *out)
{
    if (index >= BOARD_SITES_MAX ||
        !copy_entry(out, board_site(view->board, index), sizeof *out, ID_32))
        return false;
    end_string(out->name, sizeof out->name);
    return true;
}

bool stat_view_certificate(const struct stat_view *view, uint32_t index,
                           struct board_certificate *out)
{
    if (index >= BOARD_CERTIFICATES_MAX ||
        !copy_entry(out, board_certificate(view->board, index), sizeof *out, ID_32))
        return false;
    end_string(out->path, sizeof out->path);
    end_string(out->names, sizeof out->names);
    return true;
}

bool stat_view_tunnel(const struct stat_view *view, uint32_t slot, uint32_t index,
                      struct board_tunnel *out)
{
    return slot < BOARD_SLOTS_MAX && index < view->board->tunnels_max &&
           copy_entry(out, board_tunnel(view->board, slot, index), sizeof *out, ID_64);
}

bool stat_view_care(const struct stat_view *view, uint32_t slot, uint32_t index,
                    const struct board_tunnel *tunnel, struct board_care *out)
{
    const struct board_care *care =
        tunnel->flags & TUNNEL_HAS_CARE ? board_care(view->board, slot, index) : NULL;
    if (!care)
        return false;
    copy(out, care, sizeof *out);
    return true;
}

bool stat_view_event(const struct stat_view *view, uint32_t writer, uint32_t index,
                     struct board_event *out)
{
    if (!copy_entry(out, board_event_at(view->board, writer, index), sizeof *out, ID_64))
        return false;
    end_string(out->text, sizeof out->text);
    return true;
}

void stat_view_cell(const struct stat_view *view, uint32_t slot, uint32_t backend,
                    struct board_cell *out)
{
    copy(out, board_cell(view->board, slot, backend), sizeof *out);
}

uint32_t stat_view_counters(const struct stat_view *view)
{
    uint32_t counted = view->header.counter_count;
    return counted < COUNTER_COUNT ? counted : COUNTER_COUNT;
}

uint32_t stat_view_reasons(const struct stat_view *view)
{
    uint32_t counted = view->header.reason_count;
    return counted < REASON_COUNT ? counted : REASON_COUNT;
}

void stat_view_check(const struct stat_view *view, uint32_t backend, struct board_check *out)
{
    copy(out, board_check(view->board, backend), sizeof *out);
    out->reason[sizeof out->reason - 1] = '\0';
}

void stat_view_queue(const struct stat_view *view, uint32_t slot, uint32_t upstream,
                     struct board_queue *out)
{
    copy(out, board_queue(view->board, slot, upstream), sizeof *out);
}

uint32_t stat_view_tunnels_high(const struct stat_view *view, const struct board_slot *slot)
{
    return slot->tunnels_high < view->board->tunnels_max ? slot->tunnels_high
                                                         : view->board->tunnels_max;
}

static const char *word_of(const char *const *words, size_t count, uint32_t number)
{
    return number < count ? words[number] : "?";
}

const char *stat_view_slot_state(uint32_t state)
{
    static const char *const words[] = {"free", "starting", "running", "draining", "throttled"};
    return word_of(words, ARRAY_LEN(words), state);
}

const char *stat_view_health(uint32_t health)
{
    static const char *const words[] = {"unchecked", "up", "failing"};
    return word_of(words, ARRAY_LEN(words), health);
}

const char *stat_view_policy(uint32_t policy)
{
    static const char *const words[] = {"round_robin", "hash", "least_conn", "random_two"};
    return word_of(words, ARRAY_LEN(words), policy);
}
