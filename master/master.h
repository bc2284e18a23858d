/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the master knows: one struct, made by start.c, handed to every verb. It lives on main's
 * stack; single-threaded. The master touches no byte of a client.
 */
#ifndef MASTER_MASTER_H
#define MASTER_MASTER_H

#include "common/addr.h"
#include "master/conf.h"
#include "master/names.h"
#include "master/operate.h"
#include "master/privileges.h"
#include "master/throttle.h"
#include "shm/arena.h"
#include "shm/board.h"
#include "shm/tickets.h"

#include <stdbool.h>
#include <stdint.h>

enum master_phase {
    MASTER_STARTING, /* keepers are forked, not every slot has applied its first state */
    MASTER_RUNNING,
    MASTER_QUITTING, /* QUIT: slots drain, nothing listens; ends with the last child */
    MASTER_STOPPING, /* TERM, INT: slots end now; what is left after a while is killed */
};

enum {
    MASTER_EVENT_WRITER = 0, /* board.h */
    MASTER_TICK_MS = 10,     /* how often unsettled things are looked at */
    MASTER_BEAT_MS = 1000,
};

/* A listener of the configuration: one socket for each worker slot, bound as long as the slot is. */
struct master_listener {
    uint32_t id;    /* > 0, never used twice: how workers tell sockets apart */
    uint32_t index; /* in the image that is published */
    struct addr address;
    bool dual_stack; /* IPv6 wildcard that takes IPv4, too */
    bool leaving;    /* not in the configuration any more: closes as soon as workers let go */
    bool ordered;    /* slots' sockets began to listen in the order of their slots */
    bool steered;    /* new connections go to the slots that stay, see listen_steer */
    uint64_t fresh;  /* bit s: fds[s] was bound for a reload that is not committed yet */
    int fds[BOARD_SLOTS_MAX]; /* -1: none */
};

struct master_listeners {
    struct master_listener *items; /* owned */
    uint32_t count;
};

/* What a slot shall do, and how far it has followed. */
struct master_slot {
    bool running;         /* a keeper was forked and its slot has not ended */
    bool unsent;          /* the newest state has still to be sent */
    uint32_t mode;        /* enum slot_mode that it shall have */
    int control;          /* our end of its control socket; -1 */
    int32_t keeper;       /* PID; 0: not known to live */
    int keeper_status;    /* wait status of the last keeper that we reaped */
    uint64_t seq;         /* of the newest state */
    uint64_t changed_ms;  /* when the newest state came up */
    uint64_t sent_ms;     /* when it was last sent */
    uint32_t sent_starts; /* the board's `starts` at that time */
    uint64_t started_ms;  /* when the keeper was forked */
    uint64_t start_at_ms; /* not running: when to fork the next one */
    uint64_t drain_ms;    /* leaving: when to begin to drain; 0: no such plan */
    uint64_t gone_ms;     /* since when neither keeper nor worker is seen; 0: one is */
    struct throttle throttle;
};

/* The process that checks servers (checker.c). */
struct master_checker {
    bool wanted; /* there is something to check, or to take back */
    bool ever;   /* one was started, by us or by the program before us */
    bool unsent; /* the newest state has still to be sent */
    bool hung;   /* and was killed for it */
    int control; /* our end of its socket; -1 */
    int32_t pid; /* 0: none runs */
    uint64_t started_ms;
    uint64_t start_at_ms;
    uint64_t send_at_ms; /* not before: it has failed */
    struct throttle throttle;
};

struct master_logs {
    int error;
    int access; /* -1: off */
};

/* The keys of session tickets, for as long as the master lives (rotate.c). */
struct master_tickets {
    struct tickets map; /* writable */
    int fd;             /* -1: not made yet */
    int shared;         /* the same memory, for workers: cannot write */
};

/* An upgrade, a recycling or a way back that is under way (upgrade.c). */
enum renew_kind { RENEW_NOTHING, RENEW_RECYCLE, RENEW_UPGRADE, RENEW_GO_BACK };
/* Its stages: each but SLOTS is a program on trial, which is waited for. */
enum renew_stage { RENEW_TRIAL, RENEW_SLOTS, RENEW_REHEARSAL };
struct master_renewal {
    enum renew_kind kind;
    enum renew_stage stage;
    int trial;          /* PID of the program on trial; 0: none */
    int trial_status;   /* its wait status once `trial` is reaped; see upgrade_note_exit */
    uint32_t tries;     /* of the slot: somebody may die while it is renewed */
    uint32_t slot;      /* the one that is being renewed */
    uint32_t end;       /* GO_BACK: first slot that did not change */
    bool told;          /* its keeper was told */
    uint64_t begun_ms;  /* when */
    uint64_t told_ms;   /* when it was last told */
    uint64_t served_ms; /* when its new program was first seen; 0: not yet */
};

struct master {
    char *program; /* path that was exec'ed: where a new one is put; owned */
    struct master_renewal renewal;
    const char *conf_path; /* absolute */
    bool daemon;
    int ready_fd; /* to the process that waits in the foreground; -1 */
    int exit_status;
    enum master_phase phase;
    uint64_t phase_ms;  /* when it began */
    uint64_t killed_ms; /* STOPPING: when we last killed what is left */
    bool childless;     /* no process descends from us any more */
    uint64_t alone_ms;  /* ending: since when none of our own processes is left; 0: one is */

    struct conf *conf; /* in use; owned */
    char *board_name;  /* these three hold what they were at the start; owned */
    char *pid_file;
    char *user;
    struct board board; /* header NULL until created */
    bool pid_written;
    struct privileges privileges;
    uint64_t descriptors; /* RLIMIT_NOFILE as we got it */
    struct master_logs logs;
    int image; /* sealed memfd of the published generation */
    int keys;  /* of its private keys; -1: it has none */
    struct master_tickets tickets;
    uint64_t certificates_due_ms; /* when to look at their dates again */
    uint32_t generation;
    uint64_t seq;     /* last control sequence number given */
    uint32_t workers; /* slots 0 .. workers - 1 shall run */
    bool paused;      /* WINCH */
    struct master_slot slots[BOARD_SLOTS_MAX];
    struct master_checker checker;
    struct names names;   /* what the checker has resolved */
    bool names_changed;   /* since the last image */
    uint64_t names_at_ms; /* not before: following them has failed */
    struct master_listeners listeners;
    uint32_t listener_id; /* last given */

    struct operate operate; /* the control socket */
    int signals;            /* signalfd */
    uint64_t beat_ms;       /* when we last showed that we live */
    bool reload_wanted;
    bool resume_wanted; /* and by HUP: it ends a pause */
    uint64_t reload_ms; /* when it was asked for */
};

/* Milliseconds since then; 0 if it came up later in this turn than `now_ms` was read. */
static inline uint64_t master_since(uint64_t now_ms, uint64_t then_ms)
{
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

#endif
