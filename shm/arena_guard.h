/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands beside a tunnel's record once frames of our own or limits have to do with it: pings, a
 * close under way (guard), counts that limits go by (meter). Two arrays of the arena by the tunnel's
 * number, sparse: one that has neither costs nothing. Written by worker i, journaled in vault_op.
 */
#ifndef SHM_ARENA_GUARD_H
#define SHM_ARENA_GUARD_H

#include "common/compiler.h"
#include "shm/arena_rules.h"

#include <stdint.h>

/* Bits of arena_dir.care. */
enum {
    CARE_GUARD = 1 << 0,   /* of dir[0]: the tunnel's guard is in use */
    CARE_METER = 1 << 1,   /* of dir[0]: its meter is */
    CARE_WALK = 1 << 2,    /* this direction's frames are looked at: steps are made (OP_MADE) */
    CARE_RSV1 = 1 << 3,    /* of dir[0]: an extension was agreed on that uses RSV1 */
    CARE_RSV_ANY = 1 << 4, /* of dir[0]: one that we do not know was, or nobody knows */
};

enum guard_ping { PING_NONE, PING_WANTED, PING_SENT };
enum guard_say { SAY_NONE, SAY_WANTED, SAY_DONE };

/* How far a close of ours is. */
enum guard_phase {
    GUARD_OPEN,
    GUARD_TELL, /* the client's Close waits for a frame boundary */
    GUARD_ECHO, /* the client was told, and answers; what it says until then is passed on */
    GUARD_LAST, /* the backend is told, too: as soon as all who live have answered it is over */
};

struct arena_guard {
    uint8_t ping[2];     /* by the side that is asked: enum guard_ping */
    uint8_t say[2];      /* our Close, by the side that gets it: enum guard_say */
    uint8_t phase;       /* enum guard_phase */
    uint8_t reason;      /* enum reason, of the close */
    uint8_t answered;    /* bit: side: its Close came, or there is nothing to wait for */
    uint8_t cut;         /* bit: direction: nothing of its source is passed on any more */
    uint8_t deaf;        /* bit: direction: what its source sends are no frames */
    uint8_t held_len[2]; /* bytes in held[], by direction */
    uint8_t counted;     /* 1: the close is counted on the board */
    uint8_t arm;         /* 1: something is due earlier than its timer knows */
    uint8_t spill;    /* bit: direction: its source has ended, and what is held goes out as it is */
    uint8_t behind;   /* bit: side: our ping stands behind bytes that it has not taken yet */
    uint16_t code[2]; /* of our Close, by side */
    uint32_t phase_ms;    /* when the phase began */
    uint32_t pings[2];    /* sent so far, by side: no two have the same payload */
    uint32_t asked_ms[2]; /* when the last ping was sent, or became due, by side */
    uint32_t asked_us[2]; /* likewise, monotonic microseconds mod 2^32; 0: not known */
    uint32_t
        pong_ms[2]; /* when the last one was answered, or, before the first, when it was heard */
    uint32_t
        extra[2]; /* bytes of a direction's destination that its source did not send, mod 2^32 */
    uint8_t held[2][16]; /* beginning of a frame that is not known to be passed on yet */
};
_Static_assert(sizeof(struct arena_guard) == 96, "layout");

struct arena_meter {
    uint64_t message[2];          /* bytes of the message that is under way, by direction */
    int64_t level[2][RATE_KINDS]; /* thousandths that may still come at once */
    uint32_t level_ms[2];         /* when they were last filled up */
    uint32_t paused_ms[2];        /* bit in `paused`: nothing is read before that */
    uint8_t paused;               /* bit: direction */
    uint8_t pad[7];
};
_Static_assert(sizeof(struct arena_meter) == 88, "layout");

#endif
