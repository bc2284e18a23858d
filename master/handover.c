/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/handover.h"

#include "common/clock.h"
#include "common/version.h"
#include "master/checker.h"
#include "master/listen.h"
#include "master/notify.h"
#include "master/operate_order.h"
#include "master/process.h"
#include "master/reload.h"
#include "master/rotate.h"
#include "master/signals.h"
#include "master/slim.h"
#include "master/slots.h"
#include "master/trial.h"
#include "master/upgrade.h"
#include "master/way_back.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

/*
 * What the new master cannot find out by itself. Followed by the listeners, then by the names. It grows at
 * its end, as those do: what a program before did not write is zero.
 */
struct handover {
    uint64_t magic;
    uint32_t version;
    uint32_t size;          /* of this struct */
    uint32_t listener_size; /* of struct handover_listener */
    uint32_t rehearsal;     /* 1: be the master up to where it would change anything, then exit */
    uint32_t returned;      /* 1: a program that was handed this came back: see way_back.h */
    int32_t former;         /* the program that writes this: the way back; -1: none */
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
    int32_t control_socket; /* 0, of a program before: it has none */
    char control[TEXT_MAX];
    uint32_t name_count; /* names that follow the listeners */
    uint32_t name_size;  /* of struct names_answer */
};

struct handover_listener {
    struct addr address;
    uint32_t id;
    uint32_t index;
    uint32_t dual_stack;
    int32_t fds[BOARD_SLOTS_MAX];
    uint32_t ordered; /* 0, of a program before: nobody knows */
    uint32_t steered;
};

/* ---- the old program ---- */

static void fill(struct handover *h, const struct master *master)
{
    *h = (struct handover){
        .magic = HANDOVER_MAGIC,
        .version = HANDOVER_VERSION,
        .size = sizeof *h,
        .listener_size = sizeof(struct handover_listener),
        .former = -1,
        .seq = master->seq,
        .descriptors = master->descriptors,
        .generation = master->generation,
        .workers = master->workers,
        .listener_id = master->listener_id,
        .listener_count = master->listeners.count,
        .name_count = master->names.count,
        .name_size = sizeof(struct names_answer),
        .paused = master->paused && !master->resume_wanted,
        .daemon = master->daemon,
        .pid_written = master->pid_written,
        .board = master->board.fd,
        .image = master->image,
        .error_log = master->logs.error,
        .access_log = master->logs.access,
        .keys = master->keys,
        .tickets = master->tickets.fd,
        .control_socket = master->operate.socket,
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
    snprintf(h->control, TEXT_MAX, "%s", master->operate.path ? master->operate.path : "");
}

static int write_all(int fd, const void *data, size_t size)
{
    return write(fd, data, size) == (ssize_t)size ? 0 : -EIO;
}

static int write_listeners(int fd, const struct master *master)
{
    for (uint32_t i = 0; i < master->listeners.count; i++) {
        const struct master_listener *l = &master->listeners.items[i];
        struct handover_listener out = {.address = l->address,
                                        .id = l->id,
                                        .index = l->index,
                                        .dual_stack = l->dual_stack,
                                        .ordered = l->ordered,
                                        .steered = l->steered};
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++)
            out.fds[s] = l->fds[s];
        int error = write_all(fd, &out, sizeof out);
        if (error)
            return error;
    }
    return 0;
}

static int write_down(const struct master *master, bool rehearsal, int former)
{
    struct handover *h = malloc(sizeof *h);
    int fd = memfd_create("holdfast-handover", 0);
    int error = !h || fd < 0 ? -ENOMEM : 0;
    if (!error) {
        fill(h, master);
        h->rehearsal = rehearsal;
        h->former = former;
        error = write_all(fd, h, sizeof *h);
    }
    if (!error)
        error = write_listeners(fd, master);
    /* Or the first image of the new program would know no address of a named server. */
    for (uint32_t i = 0; i < master->names.count && !error; i++)
        error = write_all(fd, master->names.answers[i], sizeof(struct names_answer));
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
    let_through(master->operate.socket, through);
    for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++) {
        let_through(master->slots[s].control, through);
        for (uint32_t i = 0; i < master->listeners.count; i++)
            let_through(master->listeners.items[i].fds[s], through);
    }
}

static int exec_master(const struct master *master, int fd)
{
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    let_all_through(master, true);
    execl(master->program, "holdfast", "--master", number, (char *)NULL);
    return -errno;
}

int handover_rehearse(const struct master *master)
{
    int fd = write_down(master, true, -1);
    if (fd < 0)
        return fd;
    pid_t pid = fork();
    int error = pid < 0 ? -errno : 0;
    if (pid == 0) {
        trial_be_child();
        (void)exec_master(master, fd);
        _exit(EXIT_FAILURE);
    }
    close(fd);
    return error ? error : (int)pid;
}

int handover_exec(struct master *master)
{
    int former = open("/proc/self/exe", O_RDONLY);
    int fd = write_down(master, false, former);
    int error = fd < 0 ? fd : exec_master(master, fd);
    let_all_through(master, false);
    if (fd >= 0)
        close(fd);
    if (former >= 0)
        close(former);
    return error;
}

/* ---- the new program ---- */

static bool ends_in_nul(const char text[TEXT_MAX])
{
    return memchr(text, '\0', TEXT_MAX) != NULL;
}

static int read_header(int fd, struct handover *h)
{
    const size_t head = offsetof(struct handover, rehearsal);
    memset(h, 0, sizeof *h);
    if (pread(fd, h, head, 0) != (ssize_t)head || h->magic != HANDOVER_MAGIC || h->size < head)
        return -EPROTO;
    if (h->version != HANDOVER_VERSION)
        return -EPROTONOSUPPORT;
    size_t known = h->size < sizeof *h ? h->size : sizeof *h;
    if (pread(fd, h, known, 0) != (ssize_t)known)
        return -EPROTO;
    bool texts = ends_in_nul(h->conf_path) && ends_in_nul(h->board_name) &&
                 ends_in_nul(h->pid_file) && ends_in_nul(h->user) && ends_in_nul(h->program) &&
                 ends_in_nul(h->control);
    return texts && h->listener_count <= ARENA_LISTENERS_MAX ? 0 : -EPROTO;
}

/* A program that came back may have closed some. */
static bool is_socket(int fd)
{
    int value = 0;
    socklen_t len = sizeof value;
    return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len) == 0;
}

static int take_listeners(struct master *master, const struct handover *h, int fd)
{
    struct master_listener *items = calloc(h->listener_count + 1u, sizeof *items);
    if (!items)
        return -ENOMEM;
    master->listeners = (struct master_listeners){.items = items, .count = h->listener_count};
    for (uint32_t i = 0; i < h->listener_count; i++) {
        struct handover_listener in = {0};
        size_t known = h->listener_size < sizeof in ? h->listener_size : sizeof in;
        off_t at = (off_t)h->size + (off_t)i * h->listener_size;
        if (pread(fd, &in, known, at) != (ssize_t)known)
            return -EPROTO;
        items[i].id = in.id;
        items[i].index = in.index;
        items[i].address = in.address;
        items[i].dual_stack = in.dual_stack != 0;
        items[i].ordered = in.ordered != 0;
        items[i].steered = in.steered != 0;
        for (uint32_t s = 0; s < BOARD_SLOTS_MAX; s++)
            items[i].fds[s] = is_socket(in.fds[s]) ? in.fds[s] : -1;
    }
    return 0;
}

/* Those that do not hold are left out: the checker finds them anew. */
static void take_names(struct master *master, const struct handover *h, int fd)
{
    off_t at = (off_t)h->size + (off_t)h->listener_count * h->listener_size;
    for (uint32_t i = 0; i < h->name_count; i++, at += (off_t)h->name_size) {
        struct names_answer answer = {0};
        size_t known = h->name_size < sizeof answer ? h->name_size : sizeof answer;
        if (pread(fd, &answer, known, at) != (ssize_t)known)
            return;
        if (names_is_sound(&answer))
            (void)!names_set(&master->names, &answer);
    }
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
    master->image = way_back_keep(h->image);
    master->keys = way_back_keep(h->keys);
    master->tickets.fd = way_back_keep(h->tickets);
    master->logs = (struct master_logs){.error = way_back_keep(h->error_log),
                                        .access = way_back_keep(h->access_log)};
    master->board_name = strdup(h->board_name);
    master->pid_file = strdup(h->pid_file);
    master->user = h->user[0] != '\0' ? strdup(h->user) : NULL;
    master->program = strdup(h->program);
    master->conf_path = strdup(h->conf_path);
    if (!master->board_name || !master->pid_file || !master->program || !master->conf_path)
        return -ENOMEM;
    take_slots(master, h);
    if (h->control_socket > 0 && is_socket(h->control_socket) &&
        (master->operate.path = strdup(h->control)))
        master->operate.socket = way_back_keep(h->control_socket);
    int error = board_attach_inherited(&master->board, h->board);
    if (error)
        return error;
    master->board.fd = h->board;
    operate_order_inherit(master);
    error = take_listeners(master, h, fd);
    take_names(master, h, fd);
    return error ? error : rotate_begin(master);
}

/* A program that came back may have published and sent more than the handover says. */
static void catch_up(struct master *master)
{
    uint32_t published = LOAD_ACQUIRE(&master->board.header->generation);
    if (published > master->generation)
        master->generation = published;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        uint64_t applied = LOAD_ACQUIRE(&board_slot(&master->board, i)->applied_seq);
        if (master->slots[i].running && applied > master->seq)
            master->seq = applied;
    }
}

static int begin(struct master *master)
{
    int error = conf_is_file(master->conf_path, stderr);
    if (error || (error = conf_load(&master->conf, master->conf_path, stderr)))
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

static void show_upgraded(struct master *master)
{
    struct board_header *header = master->board.header;
    snprintf(header->software, sizeof header->software, "%s", version_string());
    STORE_RELAXED(&header->upgrades, header->upgrades + 1);
    board_show_counts(&master->board);
    log_write(LOG_LEVEL_INFO, "upgraded", "version=%s workers=%u", version_string(),
              master->workers);
    board_event(&master->board, MASTER_EVENT_WRITER, "upgraded version=%s", version_string());
}

static void show_returned(struct master *master)
{
    struct board_header *header = master->board.header;
    snprintf(header->software, sizeof header->software, "%s", version_string());
    board_show_counts(&master->board);
    catch_up(master);
    upgrade_go_back(master);
}

static void go_on(struct master *master, const struct handover *h)
{
    slim_share_relocations();
    master->phase = MASTER_RUNNING;
    master->phase_ms = clock_mono_ms();
    if (h->returned)
        show_returned(master);
    else
        show_upgraded(master);
    /* The checker of the program before has ended with its socket. */
    master->checker.ever = true;
    checker_tell(master);
    if (!way_back_is_open())
        let_all_through(master, false);
    if (master->operate.socket < 0)
        operate_open(master);
    board_wave_tell(&master->board); /* a program before may not have said what it wrote */
    /* The image of this program's layout, for workers of this program. */
    reload_again(master);
}

int handover_resume(struct master *master, int fd)
{
    struct handover *h = calloc(1, sizeof *h);
    int error = h ? read_header(fd, h) : -ENOMEM;
    if (!error && !h->rehearsal && !h->returned && h->former >= 0)
        way_back_open(h->former, fd, offsetof(struct handover, returned));
    if (!error)
        error = take(master, h, fd);
    if (!error)
        error = begin(master);
    if (error)
        fprintf(stderr, "holdfast: cannot take over: %s\n", strerror(-error));
    if (h && h->rehearsal)
        _exit(error ? EXIT_FAILURE : EXIT_SUCCESS); /* the board and the sockets are another's */
    if (error)
        way_back_go();
    else
        go_on(master, h);
    if (h && h->returned)
        close(h->former);
    if (!way_back_is_open())
        close(fd);
    free(h);
    return error;
}

bool handover_settle(struct master *master)
{
    if (!way_back_is_open())
        return false;
    if (master->phase == MASTER_RUNNING && (master->reload_wanted || !slots_all_applied(master)))
        return true;
    way_back_close();
    let_all_through(master, false);
    return false;
}
