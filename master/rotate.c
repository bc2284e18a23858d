/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/rotate.h"

#include "common/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int rotate_begin(struct master *master)
{
    struct master_tickets *t = &master->tickets;
    int error = t->fd < 0 ? tickets_create(&t->map, &t->fd) : tickets_resume(&t->map, t->fd);
    if (error)
        return error;
    t->shared = tickets_share(t->fd);
    return t->shared < 0 ? t->shared : 0;
}

static void publish(struct master *master, const struct ticket_set *set, const char *from)
{
    struct board_header *header = master->board.header;
    tickets_publish(&master->tickets.map, set, clock_mono_ms());
    STORE_RELAXED(&header->tickets_changed, header->tickets_changed + 1);
    log_write(LOG_LEVEL_INFO, "tickets_changed", "from=%s keys=%u", from, set->count);
}

/* A new key in front; the one before still opens the tickets that it has made. */
static void make_key(struct master *master, const struct ticket_set *before)
{
    struct ticket_set set = {.count = 1, .random = 1};
    if (getentropy(&set.keys[0], sizeof set.keys[0]) < 0) {
        log_write(LOG_LEVEL_ERROR, "tickets_failed", "error=\"%s\"", strerror(errno));
        return;
    }
    if (before->count > 0)
        set.keys[set.count++] = before->keys[0];
    publish(master, &set, "random");
    explicit_bzero(&set, sizeof set);
}

static void take_keys(struct master *master, const struct ticket_set *before)
{
    const struct cert_bytes *secrets = &master->conf->tls.ticket_secrets;
    struct ticket_set set = {.count = master->conf->tls.ticket_key_count};
    ASSERT(set.count <= TICKETS_KEYS_MAX && secrets->n == set.count * sizeof set.keys[0]);
    memcpy(set.keys, secrets->p, secrets->n);
    if (memcmp(&set, before, sizeof set) != 0)
        publish(master, &set, "files");
    explicit_bzero(&set, sizeof set);
}

/* Is there anybody to give tickets to? */
static bool wanted(const struct master *master)
{
    return master->conf->tls.session_tickets && master->conf->certificate_count > 0;
}

void rotate_use(struct master *master)
{
    struct ticket_set before;
    if (!wanted(master))
        return;
    tickets_read(&master->tickets.map, &before);
    if (master->conf->tls.ticket_key_count > 0)
        take_keys(master, &before);
    else if (before.count == 0 || !before.random)
        make_key(master, &before);
    explicit_bzero(&before, sizeof before);
}

void rotate_step(struct master *master, uint64_t now_ms)
{
    const struct tickets_header *header = master->tickets.map.header;
    const struct conf_tls *tls = &master->conf->tls;
    if (!wanted(master) || tls->ticket_key_count > 0 ||
        master_since(now_ms, header->changed_ms) < tls->ticket_rotation_ms)
        return;
    struct ticket_set before;
    tickets_read(&master->tickets.map, &before);
    make_key(master, &before);
    explicit_bzero(&before, sizeof before);
}

void rotate_end(struct master *master)
{
    struct master_tickets *t = &master->tickets;
    tickets_close(&t->map);
    if (t->shared >= 0)
        close(t->shared);
    if (t->fd >= 0)
        close(t->fd);
    *t = (struct master_tickets){.fd = -1, .shared = -1};
}
