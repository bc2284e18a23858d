/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/handover.h"

#include "common/clock.h"
#include "common/version.h"
#include "master/listen.h"
#include "master/notify.h"
#include "master/process.h"
#include "master/reload.h"
#include "master/rotate.h"
#include "master/signals.h"
#include "master/slim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HANDOVER_MAGIC 0x7265766f64464855ull
enum { HANDOVER_VERSION = 2, TEXT_MAX = 4096 };

/* One slot's part of struct master_slot, in widths that do not depend on the program. */
struct handover_slot {
    uint64_t seq;
    uint32_t running;
    uint32_t mode;
    int32_t control;
    int32_t keeper;
};

/* What the new master cannot find out by itself. Followed by the listeners. */
struct handover {
    uint64_t magic;
    uint32_t version;
    uint32_t size; /* of this struct: another program's may be longer */
    uint64_t seq;
    uint64_t descriptors;
    uint32_t generation;
    uint32_t workers;
    uint32_t listener_id;
    uint32_t listener_count;
    uint32_t paused;
    uint32_t daemon;
    uint32_t pid_written;
    uint32_t uid; /* privileges that keepers forked later will drop to */
    int32_t board;
    int32_t image;
    int32_t error_log;
    int32_t access_log;
    int32_t keys;
    int32_t tickets;
    struct handover_slot slots[BOARD_SLOTS_MAX];
    char conf_path[TEXT_MAX];
    char board_name[TEXT_MAX];
    char pid_file[TEXT_MAX];
    char user[TEXT_MAX]; /* empty: none was given */
    char program[TEXT_MAX];
};

struct handover_listener {
    struct addr address;
    uint32_t id;
    uint32_t index;
    uint32_t dual_stack;
    int32_t fds[BOARD_SLOTS_MAX];
};

/* ---- the old program ---- */

static void fill(struct handover *h, const struct master *master)
{
    *h = (struct handover){
        .magic = HANDOVER_MAGIC,
        .version = HANDOVER_VERSION,
        .size = sizeof *h,
        .seq = master->seq,
        .descriptors = master->descriptors,
        .generation = master->generation,
        .workers = master->workers,
        .listener_id = master->listener_id,
        .listener_count = master->listeners.count,
        .paused = master->paused,
        .daemon = master->daemon,
        .pid_written = master->pid_written,
        .board = master->board.fd,
        .image = master->image,
        .error_log = master->logs.error,
        .access_log = master->logs.access,
        .keys = master->keys,
        .tickets = master->tickets.fd,
    };
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        const struct master_slot *s = &master->slots[i];
        h->slots[i] = (struct handover_slot){.seq = s->seq,
                                             .running = s->running,
                                             .mode = s->mode,
                                             .control = s->control,
                                             .keeper = s->keeper};
    }
    snprintf(h->conf_path, TEXT_MAX, "%s", master->conf_path);
    snprintf(h->board_name, TEXT_MAX, "%s", master->board_name);
    snprintf(h->pid_file, TEXT_MAX, "%s", master->pid_file);
    snprintf(h->user, TEXT_MAX, "%s", master->user ? master->user : "");
    snprintf(h->program, TEXT_MAX, "%s", master->program);
}

static int write_all(int fd, const void *data, size_t size)
{
    return write(fd, data, size) == (ssize_t)size ? 0 : -EIO;
}

static int write_listeners(int fd, const struct master *master)
{
    for (uint32_t i = 0; i < master->listeners.count; i++) {
        const struct master_listener *l = &master->listeners.items[i];
        struct handover_listener out = {
            .address = l->address, .id = l->id, .index = l->index, .dual_stack = l->dual_stack};
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++)
            out.fds[s] = l->fds[s];
        int error = write_all(fd, &out, sizeof out);
        if (error)
            return error;
    }
    return 0;
}

static int write_down(const struct master *master)
{
    struct handover *h = malloc(sizeof *h);
    int fd = memfd_create("holdfast-handover", 0);
    int error = !h || fd < 0 ? -ENOMEM : 0;
    if (!error) {
        fill(h, master);
        error = write_all(fd, h, sizeof *h);
    }
    if (!error)
        error = write_listeners(fd, master);
    free(h);
    if (error && fd >= 0)
        close(fd);
    return error ? error : fd;
}

/* What crosses the exec loses close-on-exec; what does not (signalfd) keeps it. */
static void let_through(int fd, bool through)
{
    if (fd >= 0)
        (void)fcntl(fd, F_SETFD, through ? 0 : FD_CLOEXEC);
}

static void let_all_through(const struct master *master, bool through)
{
    let_through(master->board.fd, through);
    let_through(master->image, through);
    let_through(master->keys, through);
    let_through(master->tickets.fd, through);
    let_through(master->logs.error, through);
    let_through(master->logs.access, through);
    for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++) {
        let_through(master->slots[s].control, through);
        for (uint32_t i = 0; i < master->listeners.count; i++)
            let_through(master->listeners.items[i].fds[s], through);
    }
}

int handover_exec(struct master *master)
{
    int fd = write_down(master);
    if (fd < 0)
        return fd;
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    let_all_through(master, true);
    execl(master->program, "holdfast", "--master", number, (char *)NULL);
    int error = -errno;
    let_all_through(master, false);
    close(fd);
    return error;
}

/* ---- the new program ---- */

static bool ends_in_nul(const char text[TEXT_MAX])
{
    return memchr(text, '\0', TEXT_MAX) != NULL;
}

static int read_header(int fd, struct handover *h)
{
    if (pread(fd, h, sizeof *h, 0) != (ssize_t)sizeof *h || h->magic != HANDOVER_MAGIC)
        return -EPROTO;
    if (h->version != HANDOVER_VERSION || h->size != sizeof *h)
        return -EPROTONOSUPPORT;
    bool texts = ends_in_nul(h->conf_path) && ends_in_nul(h->board_name) &&
                 ends_in_nul(h->pid_file) && ends_in_nul(h->user) && ends_in_nul(h->program);
    return texts && h->listener_count <= ARENA_LISTENERS_MAX ? 0 : -EPROTO;
}

static int take_listeners(struct master *master, const struct handover *h, int fd)
{
    struct master_listener *items = calloc(h->listener_count + 1u, sizeof *items);
    if (!items)
        return -ENOMEM;
    master->listeners = (struct master_listeners){.items = items, .count = h->listener_count};
    for (uint32_t i = 0; i < h->listener_count; i++) {
        struct handover_listener in;
        off_t at = (off_t)(sizeof *h + i * sizeof in);
        if (pread(fd, &in, sizeof in, at) != (ssize_t)sizeof in)
            return -EPROTO;
        items[i].id = in.id;
        items[i].index = in.index;
        items[i].address = in.address;
        items[i].dual_stack = in.dual_stack != 0;
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++)
            items[i].fds[s] = in.fds[s];
    }
    return 0;
}

static void take_slots(struct master *master, const struct handover *h)
{
    uint64_t now_ms = clock_mono_ms();
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        struct master_slot *s = &master->slots[i];
        s->running = h->slots[i].running != 0;
        s->mode = h->slots[i].mode;
        s->control = h->slots[i].control;
        s->keeper = h->slots[i].keeper;
        s->seq = h->slots[i].seq;
        s->started_ms = now_ms;
        s->changed_ms = now_ms;
    }
}

static int take(struct master *master, const struct handover *h, int fd)
{
    master->seq = h->seq;
    master->descriptors = h->descriptors;
    master->generation = h->generation;
    master->workers = h->workers;
    master->listener_id = h->listener_id;
    master->paused = h->paused != 0;
    master->daemon = h->daemon != 0;
    master->pid_written = h->pid_written != 0;
    master->image = h->image;
    master->keys = h->keys;
    master->tickets.fd = h->tickets;
    master->logs = (struct master_logs){.error = h->error_log, .access = h->access_log};
    master->board_name = strdup(h->board_name);
    master->pid_file = strdup(h->pid_file);
    master->user = h->user[0] != '\0' ? strdup(h->user) : NULL;
    master->program = strdup(h->program);
    master->conf_path = strdup(h->conf_path);
    if (!master->board_name || !master->pid_file || !master->program || !master->conf_path)
        return -ENOMEM;
    take_slots(master, h);
    int error = board_attach_inherited(&master->board, h->board);
    if (error)
        return error;
    master->board.fd = h->board;
    error = take_listeners(master, h, fd);
    if (!error)
        error = rotate_begin(master);
    let_all_through(master, false);
    return error;
}

static int begin(struct master *master)
{
    int error = conf_load(&master->conf, master->conf_path, stderr);
    if (error)
        return error;
    conf_tls_forget(master->conf); /* the reload that follows reads them again */
    error = privileges_resolve(&master->privileges, master->conf->user, stderr);
    if (error)
        return error;
    log_set_level(master->conf->error_log.level);
    log_set_fd(master->logs.error);
    process_set_name(PROCESS_MASTER);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -errno;
    master->signals = signals_open();
    return master->signals < 0 ? master->signals : 0;
}

int handover_resume(struct master *master, int fd)
{
    struct handover *h = malloc(sizeof *h);
    int error = h ? read_header(fd, h) : -ENOMEM;
    if (!error)
        error = take(master, h, fd);
    if (!error)
        error = begin(master);
    free(h);
    close(fd);
    if (error) {
        fprintf(stderr, "holdfast: cannot take over: %s\n", strerror(-error));
        return error;
    }
    slim_share_relocations();
    master->phase = MASTER_RUNNING;
    master->phase_ms = clock_mono_ms();
    struct board_header *header = master->board.header;
    snprintf(header->software, sizeof header->software, "%s", version_string());
    STORE_RELAXED(&header->upgrades, header->upgrades + 1);
    board_show_counts(&master->board);
    log_write(LOG_LEVEL_INFO, "upgraded", "version=%s workers=%u", version_string(),
              master->workers);
    board_event(&master->board, MASTER_EVENT_WRITER, "upgraded version=%s", version_string());
    /* The image of this program's layout, for workers of this program. */
    reload_ask(master);
    return 0;
}
