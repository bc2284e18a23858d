/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/reload.h"

#include "common/clock.h"
#include "master/certificates.h"
#include "master/checker.h"
#include "master/listen.h"
#include "master/logs.h"
#include "master/notify.h"
#include "master/report.h"
#include "master/rotate.h"
#include "master/shed.h"
#include "master/slots.h"
#include "master/spawn.h"
#include "shm/keys.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

enum {
    FOLLOW_PATIENCE_MS = 1000,
    NAMES_AGAIN_MS = 5000, /* between two tries to follow names */
};

/* All that the next generation needs, made before anything of the running one changes. */
struct next {
    struct conf *conf;
    struct master_logs logs;
    struct master_listeners listeners;
    uint32_t generation;
    uint32_t workers;
    int image;
    int keys;
};

uint32_t reload_workers(const struct conf *conf)
{
    uint32_t workers = conf->workers;
    if (workers == 0) {
        cpu_set_t cores;
        workers = sched_getaffinity(0, sizeof cores, &cores) == 0 ? (uint32_t)CPU_COUNT(&cores) : 1;
    }
    return workers < BOARD_SLOTS_MAX ? workers : BOARD_SLOTS_MAX;
}

void reload_ask(struct master *master)
{
    if (master->phase == MASTER_QUITTING || master->phase == MASTER_STOPPING) {
        log_write(LOG_LEVEL_WARN, "reload_ignored", "reason=stopping");
        return;
    }
    reload_again(master);
    master->resume_wanted = true;
}

void reload_again(struct master *master)
{
    if (!master->reload_wanted)
        master->reload_ms = clock_mono_ms();
    master->reload_wanted = true;
}

static void give_up(struct next *next)
{
    if (next->image >= 0)
        close(next->image);
    listen_give_up(&next->listeners);
    logs_close(&next->logs);
    conf_free(&next->conf);
}

/* Every fallible step; bind before build, build before publish. */
static int prepare(struct master *master, struct next *next, FILE *errors)
{
    int error = conf_is_file(master->conf_path, errors);
    if (error || (error = conf_load(&next->conf, master->conf_path, errors)))
        return error;
    next->workers = reload_workers(next->conf);
    error = logs_open(&next->logs, next->conf, errors);
    if (error)
        return error;
    struct listen_plan plan = {.conf = next->conf, .workers = next->workers, .errors = errors};
    error = listen_prepare(master, &plan, &next->listeners);
    if (error)
        return error;
    next->conf->names = &master->names;
    error = conf_image_build(next->conf, &master->board, next->generation, &next->image, errors);
    return error ? error : conf_keys_build(next->conf, next->generation, &next->keys, errors);
}

static bool differs(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) != 0 : a != b;
}

static void warn_of_restart(const struct master *master, const struct conf *conf)
{
    if (differs(master->pid_file, conf->pid_file))
        log_write(LOG_LEVEL_WARN, "needs_restart", "key=pid_file in_use=%s", master->pid_file);
    if (differs(master->board_name, conf->board))
        log_write(LOG_LEVEL_WARN, "needs_restart", "key=board in_use=%s", master->board_name);
    if (differs(master->user, conf->user))
        log_write(LOG_LEVEL_WARN, "needs_restart", "key=user in_use=%s",
                  master->user ? master->user : "-");
}

/* More slots: new keepers. Fewer: the leaving ones drain. A draining one that is needed again runs. */
static void resize(struct master *master, uint32_t workers)
{
    master->workers = workers;
    STORE_RELAXED(&master->board.header->workers, workers);
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        struct master_slot *s = &master->slots[i];
        if (i < workers && s->running)
            slots_want(master, i, slots_mode(master));
        else if (i < workers)
            s->mode = slots_mode(master);
        else if (s->running)
            slots_leave(master, i);
        else
            s->mode = SLOT_MODE_STOP;
    }
    listen_steer(master);
    spawn_missing(master, clock_mono_ms());
}

void reload_show_limits(struct master *master)
{
    struct board_header *header = master->board.header;
    STORE_RELAXED(&header->upgrade_timeout_ms, master->conf->upgrade_timeout_ms);
    STORE_RELAXED(&header->hang_timeout_ms, master->conf->hang_timeout_ms);
}

static void publish(struct master *master, const struct next *next)
{
    close(master->image);
    master->image = next->image;
    if (master->keys >= 0)
        close(master->keys);
    master->keys = next->keys;
    /* The image and the rings stand: from here on observers may look for this generation. */
    master->generation = next->generation;
    STORE_RELEASE(&master->board.header->generation, next->generation);
    master->names_changed = false;
    master->names_at_ms = 0;
}

static void commit(struct master *master, struct next *next)
{
    warn_of_restart(master, next->conf);
    conf_free(&master->conf);
    master->conf = next->conf;
    next->conf = NULL;
    logs_use(master, &next->logs);
    listen_commit(master, &next->listeners);
    publish(master, next);
    reload_show_limits(master);
    rotate_use(master);
    certificates_show(master);
    conf_tls_forget(master->conf);
    names_keep(&master->names, master->conf);
    STORE_RELAXED(&master->board.header->reloads, master->board.header->reloads + 1);
    if (master->resume_wanted)
        master->paused = false;
    checker_tell(master);
    operate_move(&master->operate);
    resize(master, next->workers);
}

static void reload(struct master *master)
{
    struct next next = {.logs = {.error = -1, .access = -1},
                        .image = -1,
                        .keys = -1,
                        .generation = master->generation + 1};
    struct report report;
    struct shed_before before;
    notify_reloading();
    shed_note(&master->board, master->generation, &before);
    int error = report_begin(&report);
    if (!error)
        error = prepare(master, &next, report.messages);
    report_log(&report, error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "configuration");
    if (error) {
        give_up(&next);
        STORE_RELAXED(&master->board.header->reloads_failed,
                      master->board.header->reloads_failed + 1);
        log_write(LOG_LEVEL_ERROR, "reload_failed", "file=%s generation=%u", master->conf_path,
                  master->generation);
        board_event(&master->board, MASTER_EVENT_WRITER, "reload_failed generation=%u",
                    master->generation);
    } else {
        commit(master, &next);
        shed_begin(&master->board, master->generation, &before);
        log_write(LOG_LEVEL_INFO, "reloaded", "generation=%u workers=%u listeners=%u",
                  master->generation, master->workers, master->conf->listener_count);
        board_event(&master->board, MASTER_EVENT_WRITER, "reloaded generation=%u workers=%u",
                    master->generation, master->workers);
    }
    notify_ready(master->workers, master->generation);
}

/* The configuration stays, but names of servers in it stand for other addresses now. */
static void follow_names(struct master *master)
{
    struct next next = {.image = -1, .keys = -1, .generation = master->generation + 1};
    struct report report;
    struct shed_before before;
    shed_note(&master->board, master->generation, &before);
    int error = report_begin(&report);
    master->names_at_ms =
        clock_mono_ms() + NAMES_AGAIN_MS; /* unless publish() says it has not failed */
    if (!error) {
        master->conf->names = &master->names;
        /* First: what the image shows on the board is not taken back. */
        if (master->keys >= 0)
            error = keys_renew(master->keys, next.generation, &next.keys);
        if (!error)
            error = conf_image_follow(master->conf, &master->board, next.generation, &next.image,
                                      report.messages);
        report_log(&report, LOG_LEVEL_ERROR, "configuration");
    }
    if (error) {
        if (next.image >= 0)
            close(next.image);
        if (next.keys >= 0)
            close(next.keys);
        log_write(LOG_LEVEL_ERROR, "names_not_followed", "error=%d", -error);
        return;
    }
    publish(master, &next);
    shed_begin(&master->board, master->generation, &before);
    checker_tell(master);
    resize(master, master->workers);
    log_write(LOG_LEVEL_INFO, "names_followed", "generation=%u", master->generation);
    board_event(&master->board, MASTER_EVENT_WRITER, "names_followed generation=%u",
                master->generation);
}

void reload_step(struct master *master, uint64_t now_ms)
{
    if (!(master->reload_wanted || master->names_changed) || master->phase != MASTER_RUNNING)
        return;
    if (!master->reload_wanted && now_ms < master->names_at_ms)
        return;
    /* The next rings overwrite those of the generation before the running one: nobody may use them. */
    if (!slots_follow(master) && master_since(now_ms, master->reload_ms) < FOLLOW_PATIENCE_MS)
        return;
    if (!master->reload_wanted) {
        follow_names(master);
        return;
    }
    master->reload_wanted = false;
    reload(master);
    master->resume_wanted = false;
}
