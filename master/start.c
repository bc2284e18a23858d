/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/start.h"

#include "common/clock.h"
#include "common/version.h"
#include "master/certificates.h"
#include "master/checker.h"
#include "master/daemon.h"
#include "master/listen.h"
#include "master/logs.h"
#include "master/notify.h"
#include "master/operate.h"
#include "master/pidfile.h"
#include "master/process.h"
#include "master/reload.h"
#include "master/rotate.h"
#include "master/signals.h"
#include "master/slim.h"
#include "master/slots.h"
#include "master/spawn.h"
#include "master/stop.h"
#include "shm/board_reserve.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    BIND_PATIENCE_MS = 1000,   /* workers of a master that was killed let go within that */
    DESCRIPTORS_MAX = 1 << 20, /* each costs 8 bytes of kernel memory in every slot */
    DESCRIPTORS_MIN = FD_DYNAMIC + 64,
};

void start_init(struct master *master, const char *conf_path, int ready_fd)
{
    *master = (struct master){
        .conf_path = conf_path,
        .daemon = ready_fd >= 0,
        .ready_fd = ready_fd,
        .logs = {.error = -1, .access = -1},
        .image = -1,
        .keys = -1,
        .tickets = {.fd = -1, .shared = -1},
        .signals = -1,
        .checker = {.control = -1},
        .phase = MASTER_STARTING,
        .phase_ms = clock_mono_ms(),
    };
    operate_init(&master->operate);
    slots_init(master);
}

/* Where a new program will be put: the path that we were started from, links resolved. */
static char *own_program(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = '\0';
    return strdup(path);
}

static int keep_names(struct master *master)
{
    const struct conf *conf = master->conf;
    master->board_name = strdup(conf->board);
    master->pid_file = strdup(conf->pid_file);
    master->user = conf->user ? strdup(conf->user) : NULL;
    master->program = own_program();
    if (!master->program || !master->board_name || !master->pid_file ||
        (conf->user && !master->user))
        return -ENOMEM;
    return 0;
}

static int raise_limit(struct master *master)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    master->descriptors = limit.rlim_cur;
    if (master->descriptors >= DESCRIPTORS_MIN)
        return 0;
    fprintf(stderr, "holdfast: %llu open files are allowed, at least %d are needed (ulimit -Hn)\n",
            (unsigned long long)master->descriptors, DESCRIPTORS_MIN);
    return -EMFILE;
}

static int open_logs(struct master *master)
{
    struct master_logs logs;
    int error = logs_open(&logs, master->conf, stderr);
    if (error)
        return error;
    logs_use(master, &logs);
    return 0;
}

static void fill_header(struct master *master)
{
    struct board_header *header = master->board.header;
    header->master_pid = (int32_t)getpid();
    header->started_real_ms = clock_real_ms();
    header->workers = master->workers;
    snprintf(header->program, sizeof header->program, "%s", master->program);
    reload_show_limits(master);
    snprintf(header->software, sizeof header->software, "%s", version_string());
    snprintf(header->config_path, sizeof header->config_path, "%s", master->conf_path);
    STORE_RELEASE(&header->beat_ms, clock_mono_ms());
    STORE_RELEASE(&header->state, BOARD_STARTING);
}

static int claim_board(struct master *master)
{
    struct board_shape shape = {.tunnels_max = (uint32_t)((master->descriptors - FD_DYNAMIC) / 2)};
    int32_t owner = 0;
    int error = board_create(&master->board, master->board_name, &shape, &owner);
    if (error == -EBUSY)
        fprintf(stderr, "holdfast: already running: PID %d holds the board %s\n", owner,
                master->board_name);
    else if (error)
        fprintf(stderr, "holdfast: cannot create the board %s: %s\n", master->board_name,
                strerror(-error));
    if (error)
        return error;
    error = board_reserve_slots(&master->board, master->workers);
    if (error)
        fprintf(stderr, "holdfast: no memory for the board %s: %s (is /dev/shm full?)\n",
                master->board_name, strerror(-error));
    else
        fill_header(master);
    return error;
}

static int bind_all(struct master *master)
{
    struct listen_plan plan = {
        .conf = master->conf,
        .workers = master->workers,
        .patience_ms = BIND_PATIENCE_MS,
        .errors = stderr,
    };
    struct master_listeners listeners;
    int error = listen_prepare(master, &plan, &listeners);
    if (!error)
        listen_commit(master, &listeners);
    return error;
}

static int write_pid_file(struct master *master)
{
    int32_t owner;
    int error = pidfile_write(master->pid_file, &owner);
    if (error == -EEXIST)
        fprintf(stderr, "holdfast: the PID file %s belongs to PID %d, which runs\n",
                master->pid_file, owner);
    else if (error)
        fprintf(stderr, "holdfast: cannot write the PID file %s: %s\n", master->pid_file,
                strerror(-error));
    master->pid_written = error == 0;
    return error;
}

static int publish_first(struct master *master)
{
    int error = conf_image_build(master->conf, &master->board, 1, &master->image, stderr);
    if (error || (error = conf_keys_build(master->conf, 1, &master->keys, stderr)))
        return error;
    error = rotate_begin(master);
    if (error) {
        fprintf(stderr, "holdfast: cannot make the keys of session tickets: %s\n",
                strerror(-error));
        return error;
    }
    master->generation = 1;
    STORE_RELEASE(&master->board.header->generation, 1);
    rotate_use(master);
    certificates_show(master);
    /* Keepers and workers get copies of this memory. */
    conf_tls_forget(master->conf);
    return 0;
}

/* What is looked up or read, and changes nothing outside this process. */
static int prepare_process(struct master *master)
{
    int error = conf_is_file(master->conf_path, stderr);
    if (error || (error = conf_load(&master->conf, master->conf_path, stderr)) ||
        (error = keep_names(master)))
        return error;
    master->workers = reload_workers(master->conf);
    error = privileges_resolve(&master->privileges, master->conf->user, stderr);
    if (error || (error = raise_limit(master)))
        return error;
    process_set_name(PROCESS_MASTER);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return -errno;
    master->signals = signals_open();
    return master->signals < 0 ? master->signals : 0;
}

int start_master(struct master *master)
{
    int error = prepare_process(master);
    if (error || (error = open_logs(master)) || (error = claim_board(master)) ||
        (error = bind_all(master)) || (error = write_pid_file(master)) ||
        (error = publish_first(master)))
        return error;
    log_write(LOG_LEVEL_INFO, "descriptors", "limit=%llu tunnels_per_worker=%u",
              (unsigned long long)master->descriptors, master->board.tunnels_max);
    operate_open(master);
    for (uint32_t i = 0; i < master->workers; i++)
        master->slots[i].mode = SLOT_MODE_RUN;
    slim_share_relocations(); /* all libraries are loaded by now */
    checker_tell(master);
    spawn_missing(master, clock_mono_ms());
    return 0;
}

static bool all_serve(const struct master *master)
{
    for (uint32_t i = 0; i < master->workers; i++) {
        if (!master->slots[i].running)
            return false;
    }
    return slots_all_applied(master);
}

void start_step(struct master *master, uint64_t now_ms)
{
    if (master->phase != MASTER_STARTING)
        return;
    if (all_serve(master)) {
        master->phase = MASTER_RUNNING;
        master->phase_ms = now_ms;
        STORE_RELEASE(&master->board.header->state, BOARD_RUNNING);
        log_write(LOG_LEVEL_INFO, "started", "version=%s workers=%u listeners=%u", version_string(),
                  master->workers, master->conf->listener_count);
        board_event(&master->board, MASTER_EVENT_WRITER, "started version=%s workers=%u",
                    version_string(), master->workers);
        notify_ready(master->workers, master->generation);
        daemon_ready(&master->ready_fd);
    } else if (master_since(now_ms, master->phase_ms) > START_PATIENCE_MS) {
        fprintf(stderr, "holdfast: the workers did not start; the error log (%s) says why\n",
                master->conf->error_log.path);
        log_write(LOG_LEVEL_ERROR, "start_failed", "after_ms=%d", START_PATIENCE_MS);
        master->exit_status = EXIT_FAILURE;
        stop_now(master);
    }
}
