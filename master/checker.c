/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "master/checker.h"

#include "common/clock.h"
#include "master/process.h"
#include "master/slots.h"
#include "shm/control.h"
#include "shm/image.h"
#include "shm/keys.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_needed(const struct conf *conf)
{
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        const struct conf_upstream *upstream = &conf->upstreams[i];
        if (upstream->health.type != HEALTH_OFF)
            return true;
        for (uint32_t s = 0; s < upstream->server_count; s++) {
            if (upstream->servers[s].address.len == 0)
                return true; /* a name, to be resolved */
        }
    }
    return false;
}

void checker_tell(struct master *master)
{
    struct master_checker *checker = &master->checker;
    /* One that has run before may have left servers as failing: only it takes that back. */
    checker->wanted = is_needed(master->conf) || checker->ever;
    checker->unsent = true;
}

static int start(struct master *master)
{
    struct master_checker *checker = &master->checker;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        const struct checker_start from = {
            .board = &master->board,
            .control = ends[1],
            .error_log = master->logs.error,
            .log_level = master->conf->error_log.level,
            .privileges = &master->privileges,
        };
        checker_main(&from);
    }
    int error = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return error;
    }
    checker->pid = (int32_t)pid;
    checker->control = ends[0];
    checker->ever = true;
    checker->unsent = true;
    checker->hung = false;
    checker->started_ms = clock_mono_ms();
    return 0;
}

/* Marks in `wanted`, by index, which keys checks of this image need. Returns whether there is one. */
static bool choose_keys(const struct image *image, bool wanted[KEYS_MAX])
{
    bool any = false;
    for (uint32_t i = 0; i < image->header->upstreams.count; i++) {
        const struct image_upstream *upstream = image_upstream(image, i);
        bool speaks =
            upstream->health.type == HEALTH_HTTP || upstream->health.type == HEALTH_WEBSOCKET;
        if (!speaks || upstream->tls_chain.len == 0 || upstream->tls_key >= KEYS_MAX)
            continue;
        wanted[upstream->tls_key] = any = true;
    }
    return any;
}

int checker_keys(int image_fd, int keys_fd, int *fd)
{
    struct image *image = NULL;
    bool *wanted = calloc(KEYS_MAX, sizeof(*wanted));
    *fd = -1;
    int rc = wanted ? image_open(&image, image_fd) : -ENOMEM;
    if (rc == 0 && choose_keys(image, wanted))
        rc = keys_select(keys_fd, wanted, KEYS_MAX, fd);
    image_release(&image);
    free(wanted);
    return rc;
}

static void send_state(struct master *master, uint64_t now_ms)
{
    struct master_checker *checker = &master->checker;
    int keys;
    int error = checker_keys(master->image, master->keys, &keys);
    if (error) {
        checker->send_at_ms = now_ms + MASTER_BEAT_MS;
        log_write(LOG_LEVEL_ERROR, "checker_keys_failed", "error=\"%s\"", strerror(-error));
        return;
    }
    struct control_message message = {.seq = ++master->seq,
                                      .mode = SLOT_MODE_RUN,
                                      .log_level = master->conf->error_log.level,
                                      .has_keys = keys >= 0};
    const struct control_fds fds = {
        .image = master->image, .error_log = master->logs.error, .access_log = -1, .keys = keys};
    error = control_send(checker->control, &message, &fds);
    if (error != -EAGAIN)
        checker->unsent = false; /* a dead one gets it when it is started again */
    if (keys >= 0)
        close(keys);
}

static void end(struct master_checker *checker)
{
    if (checker->control >= 0)
        close(checker->control);
    checker->control = -1;
}

/* Answers about names. Whatever else comes is dropped: it runs with fewer rights than we do. */
static void read_answers(struct master *master)
{
    struct names_answer answer;
    ssize_t n;
    while ((n = recv(master->checker.control, &answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
        if (n != (ssize_t)sizeof(answer) || !names_is_sound(&answer) ||
            !names_wanted(master->conf, answer.text))
            continue;
        int rc = names_set(&master->names, &answer);
        if (rc < 0)
            log_write(LOG_LEVEL_ERROR, "name_lost", "name=%s error=%d", answer.text, -rc);
        if (rc > 0 && !master->names_changed && !master->reload_wanted)
            master->reload_ms = clock_mono_ms(); /* workers have some time to follow, as ever */
        master->names_changed = master->names_changed || rc > 0;
    }
}

/* One that does not come round any more finds nothing out: it is worth no more than a dead one. */
static void end_hung(struct master *master, uint64_t now_ms)
{
    struct master_checker *checker = &master->checker;
    uint32_t limit_ms = master->conf->hang_timeout_ms;
    uint32_t beat_ms = LOAD_RELAXED(&master->board.header->checker_beat_ms);
    if ((int32_t)(beat_ms - (uint32_t)checker->started_ms) < 0)
        beat_ms = (uint32_t)checker->started_ms; /* of its predecessor */
    int32_t silent_ms = (int32_t)((uint32_t)now_ms - beat_ms);
    if (limit_ms == 0 || checker->hung || silent_ms < 0 || (uint32_t)silent_ms <= limit_ms)
        return;
    checker->hung = true;
    log_write(LOG_LEVEL_ERROR, "checker_hung", "pid=%d silent_ms=%d", checker->pid, silent_ms);
    board_event(&master->board, MASTER_EVENT_WRITER, "checker_hung pid=%d", checker->pid);
    (void)!process_signal(checker->pid, PROCESS_CHECKER, SIGKILL);
}

void checker_step(struct master *master, uint64_t now_ms)
{
    struct master_checker *checker = &master->checker;
    if (master->phase != MASTER_STARTING && master->phase != MASTER_RUNNING)
        return;
    if (checker->wanted && checker->pid == 0 && now_ms >= checker->start_at_ms) {
        int error = start(master);
        if (error) {
            checker->start_at_ms = now_ms + MASTER_BEAT_MS;
            log_write(LOG_LEVEL_ERROR, "checker_fork_failed", "error=\"%s\"", strerror(-error));
        }
    }
    if (checker->pid != 0 && checker->unsent && now_ms >= checker->send_at_ms)
        send_state(master, now_ms);
    if (checker->control >= 0)
        read_answers(master);
    if (checker->pid != 0)
        end_hung(master, now_ms);
}

bool checker_reaped(struct master *master, int32_t pid, int status)
{
    struct master_checker *checker = &master->checker;
    if (checker->pid == 0 || pid != checker->pid)
        return false;
    uint64_t now_ms = clock_mono_ms();
    bool stopping = checker->control < 0;
    end(checker);
    checker->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        checker->wanted = checker->wanted && checker->unsent; /* it had nothing to do */
        return true;
    }
    uint32_t wait_ms =
        throttle_pause_ms(&checker->throttle, master_since(now_ms, checker->started_ms), status);
    checker->start_at_ms = now_ms + wait_ms;
    if (stopping)
        return true;
    log_write(LOG_LEVEL_ERROR, "checker_died", "pid=%d status=%d again_ms=%u", pid, status,
              wait_ms);
    board_event(&master->board, MASTER_EVENT_WRITER, "checker_died pid=%d status=%d", pid, status);
    return true;
}

void checker_stop(struct master *master)
{
    master->checker.wanted = false;
    end(&master->checker);
}
