/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The board: a named shared-memory segment (0640) in which workers show what they do and by which
 * they balance alike. Offsets and indices only. Every field names its writer: M: master,
 * K: keeper i, W: worker i, C: checker. Readers treat what they read as gossip and bounds-check it.
 * W*: any worker, by one atomic store or compare-and-swap of the whole word: no part of such a word
 * belongs to a process, so nobody's death can leave it wrong.
 *
 * Sums over tunnels: a worker's byte and frame totals are its closed_* counters plus its live
 * tunnels' records; `close_seq` is odd while one moves from the one to the other.
 *
 * An upgrade leaves the board where it is: programs of two versions write to it at a time. So the
 * layout grows without a new version: counters and reasons are appended to their tables, new fields
 * take bytes that were spare, which are zero until somebody writes them. A change that moves anything
 * needs a new version, and then an upgrade is refused: a stop and a start, with a word on why.
 */
#ifndef SHM_BOARD_H
#define SHM_BOARD_H

#include "common/compiler.h"
#include "common/ketama.h"
#include "common/slice.h"
#include "shm/board_wave.h"
#include "shm/counters.h"
#include "shm/reason.h"

#include <stdint.h>

#define BOARD_MAGIC 0x647261426c484655ull
enum {
    BOARD_VERSION = 2,
    BOARD_HEADER_SIZE = 4096,
    BOARD_COUNTERS_MAX = 96,
    BOARD_REASONS_MAX = 64,
    BOARD_SLOTS_MAX = 64,
    BOARD_BACKENDS_MAX = 16384,
    BOARD_UPSTREAMS_MAX = 1024,
    BOARD_SITES_MAX = 1024,
    BOARD_CERTIFICATES_MAX = 16384,
    BOARD_RING_POINTS_MAX = 4 << 20, /* of one generation; two are held */
    BOARD_EVENTS_PER_WRITER = 256,
    BOARD_EVENT_WRITERS = BOARD_SLOTS_MAX + 2, /* 0 master, 1 checker, 2 + i slot i */
    BOARD_NAME_MAX = 64,
    BOARD_SERVER_MAX = 128,
    BOARD_LAST_WORDS = 256,
    BOARD_PATH_MAX = 128,
    BOARD_CLOSE_IDS = 16,
};

struct board_header {
    uint64_t magic;
    uint32_t version;           /* M: BOARD_VERSION */
    uint32_t header_size;       /* M: BOARD_HEADER_SIZE */
    uint64_t size;              /* M: bytes of the whole segment */
    uint32_t slots_max;         /* M: worker slots laid out */
    uint32_t tunnels_max;       /* M: tunnel records in each slot */
    uint32_t backends_max;      /* M: backend entries, and cells in each slot */
    uint32_t upstreams_max;     /* M */
    uint32_t sites_max;         /* M */
    uint32_t ring_points_max;   /* M: points in each of the two ring areas */
    uint32_t events_per_writer; /* M */
    uint32_t event_writers;     /* M */
    uint32_t counter_count;     /* M: those that its program knows; the first so many are used */
    uint32_t reason_count;      /* M: likewise */
    uint64_t slots_off;         /* M: offsets from the start of the segment */
    uint64_t backends_off;
    uint64_t cells_off; /* struct board_cell [slot][backend] */
    uint64_t upstreams_off;
    uint64_t checks_off; /* struct board_check [backend] */
    uint64_t queues_off; /* struct board_queue [slot][upstream] */
    uint64_t sites_off;
    uint64_t certificates_off;
    uint64_t rings_off;          /* struct ketama_point [2][ring_points_max] */
    uint64_t tunnels_off;        /* struct board_tunnel [slot][tunnel] */
    uint64_t events_off;         /* struct board_event [writer][event] */
    uint64_t gauges_off;         /* struct board_gauges */
    uint64_t paces_off;          /* struct board_paces */
    int32_t master_pid;          /* M */
    uint32_t state;              /* M: enum board_state */
    uint64_t started_real_ms;    /* M */
    uint64_t beat_ms;            /* M: monotonic, at least every second */
    uint32_t generation;         /* M: of the configuration that is published */
    uint32_t workers;            /* M: worker slots that are meant to run */
    uint32_t reloads;            /* M */
    uint32_t reloads_failed;     /* M */
    char software[32];           /* M: version of the program */
    char program[256];           /* M: path of the program that keepers exec to renew themselves */
    uint32_t upgrade_timeout_ms; /* M: requests may finish for so long before a worker parks */
    uint32_t hang_timeout_ms;    /* M: who is silent for so long is killed; 0: never */
    uint32_t upgrades;           /* M: done */
    uint32_t upgrades_failed;    /* M: refused or rolled back */
    uint32_t certificates;       /* M: entries of board_certificate in use, the first ones */
    uint32_t tickets_changed;    /* M: times that the key of session tickets was changed */
    char config_path[256];       /* M */
    uint64_t hash_key[2];        /* M: random: of the tables whose keys clients choose */
    struct board_wave quit;      /* M: all tunnels, after QUIT */
    uint32_t wave_serial;        /* M: grows whenever tunnels may have another end than before */
    uint32_t checker_beat_ms;    /* C: monotonic, low half, at least every second */
    uint64_t close_ids[BOARD_CLOSE_IDS]; /* M: tunnels that an operator has closed last; 0: none */
    uint64_t care_off; /* M: struct board_care [slot][tunnel]; 0: of a program before, without it */
};
_Static_assert(sizeof(struct board_header) <= BOARD_HEADER_SIZE, "the slots begin behind it");
_Static_assert((int)COUNTER_COUNT <= BOARD_COUNTERS_MAX, "room");
_Static_assert((int)REASON_COUNT <= BOARD_REASONS_MAX, "room");

enum board_state { BOARD_STARTING, BOARD_RUNNING, BOARD_STOPPING, BOARD_STOPPED };

enum slot_state { SLOT_FREE, SLOT_STARTING, SLOT_RUNNING, SLOT_DRAINING, SLOT_THROTTLED };

/* One worker slot. Its keeper's fields, its worker's fields and its counters on lines of their own. */
struct board_slot {
    int32_t keeper_pid;    /* K: (a worker that replaced its keeper writes it, too) */
    int32_t worker_pid;    /* K */
    uint32_t starts;       /* K: workers cloned so far */
    uint32_t crashes;      /* K: of these, how many died by themselves */
    uint32_t last_status;  /* K: wait status of the last one that died */
    uint32_t throttled;    /* K: times a start was put off because workers died young */
    uint64_t died_real_ms; /* K: when the last one died */
    uint64_t renewed_seq;  /* K: renewal that was done, or failed, last */
    int32_t renew_error;   /* K: 0: done; else errno: it failed, and nothing has changed */
    uint8_t keeper_pad[20];

    uint64_t renew_seq;    /* M: renew yourself when this grows: exec the program, adopt */
    uint32_t renew_former; /* M: 1: exec the program that ran before instead */
    uint8_t master_pad[52];

    uint32_t state;           /* W, K: enum slot_state */
    uint32_t generation;      /* W: of the image it uses for new requests */
    uint64_t applied_seq;     /* W: sequence number of the last control message applied */
    uint64_t started_real_ms; /* W */
    uint64_t beat_ms;         /* W: monotonic, once a loop turn and at least every second */
    uint32_t close_seq;       /* W: odd while a closing tunnel's sums move to the counters */
    uint32_t tunnels_open;    /* W */
    uint32_t clients_open;    /* W: connections that are not tunnels */
    uint32_t tunnels_high;    /* W: 1 + highest tunnel record ever used: readers scan this far */
    uint32_t chunks_used;     /* W */
    uint32_t backend_idle;    /* W: kept connections to backends */
    uint32_t requests_open;   /* W: requests in flight */
    uint8_t worker_pad[4];

    char last_words[BOARD_LAST_WORDS];     /* W: of an ASSERT that failed */
    uint64_t counters[BOARD_COUNTERS_MAX]; /* W */
    uint64_t reasons[BOARD_REASONS_MAX];   /* W: requests and tunnels ended, by reason */
} ALIGNED(CACHE_LINE);

/* Bits of board_backend.flags. */
enum {
    BACKEND_DOWN = 1 << 0,
    BACKEND_BACKUP = 1 << 1,
    BACKEND_DRAIN = 1 << 2,      /* by the configuration */
    BACKEND_TOLD_DRAIN = 1 << 3, /* by an operator; on the board only, until he takes it back */
    BACKEND_DRAINS = BACKEND_DRAIN | BACKEND_TOLD_DRAIN,
};

/* A server of an upstream; keyed by (upstream, server as written): it keeps its index across reloads. */
struct board_backend {
    uint32_t used;                 /* M: generation that last named it; 0: entry is free */
    uint32_t weight;               /* M */
    uint32_t flags;                /* M */
    uint32_t health;               /* C: enum backend_health */
    uint64_t since_real_ms;        /* C: when health last changed */
    char upstream[BOARD_NAME_MAX]; /* M */
    char server[BOARD_SERVER_MAX]; /* M */
    uint32_t max_conns;            /* M: 0: no limit */
    uint32_t max_fails;            /* M: 0: passive checks never eject it */
    uint32_t fail_timeout_ms;      /* M */
    uint32_t slow_start_ms;        /* M: 0: none */
    uint64_t passive;              /* W*: failures and when, shm/passive.h; 0: none */
    uint64_t passive_real_ms;      /* W*: when it was last ejected or taken back */
    uint64_t recovered_ms;     /* M, C, W*: monotonic, when it last came back; the latest holds */
    uint32_t passive_reason;   /* W*: enum reason of the failure that last ejected it */
    uint32_t drain_timeout_ms; /* M: 0: none */
    uint64_t
        drain_until_ms; /* M: monotonic, when its last tunnel is closed: it drains, or was removed; 0: never */
    uint32_t upstream_index;  /* M: of its upstream; the same while it has tunnels */
    uint32_t drain_spread_ms; /* M: so long before drain_until_ms the first one is */
    struct board_wave wave;   /* M: of its tunnels, beside what a drain says */
} ALIGNED(CACHE_LINE);
_Static_assert(sizeof(struct board_backend) == 320, "layout");

enum backend_health { BACKEND_UNCHECKED, BACKEND_UP, BACKEND_FAILING };

/* What active checks have found out about a backend; same index. All C. */
struct board_check {
    uint64_t checked_real_ms; /* when the last one ended; 0: none has */
    uint32_t latency_us;      /* of the last one */
    uint32_t good;            /* 1: it was good */
    uint32_t streak;          /* how many in a row ended like it */
    uint32_t pad;
    uint64_t checks;
    uint64_t failed;
    char reason[88]; /* of the last one, in words, NUL-terminated; may be read half written */
};
_Static_assert(sizeof(struct board_check) == 2 * CACHE_LINE, "layout");

/* What one worker slot knows of one backend. All W. */
struct board_cell {
    uint32_t conns;    /* tunnels and requests in flight: least_conn sums these */
    uint32_t tunnels;  /* tunnels live now */
    uint64_t connects; /* connections opened */
    uint64_t connects_failed;
    uint64_t requests;     /* requests and handshakes sent */
    uint64_t failures;     /* timeouts, malformed answers, closed too early */
    uint64_t bad_upgrades; /* 101 answers refused */
    uint64_t tunnels_opened;
    uint64_t tunnels_closed;
    uint64_t rx_bytes; /* client to backend, closed tunnels only */
    uint64_t tx_bytes; /* backend to client, closed tunnels only */
    uint64_t rx_frames;
    uint64_t tx_frames;
    uint64_t status[6];  /* answers by class: [1] 1xx ... [5] 5xx; [0] none */
    uint64_t ejections;  /* times that a failure here ejected it */
    uint64_t slow_since; /* recovered_ms that the next two count from; others do not count */
    uint64_t slow_seen;  /* requests for its upstream since */
    uint64_t slow_taken; /* of these, sent to it */
    uint32_t closing;    /* tunnels live now that we are closing */
    uint32_t pad;
} ALIGNED(CACHE_LINE);

/* An upstream and where its ring stands. */
struct board_upstream {
    uint32_t used;    /* M: as in board_backend */
    uint32_t policy;  /* M: enum balance_policy */
    uint32_t servers; /* M: servers configured */
    uint32_t panic;   /* W*: 1: too many are ejected, so ejections are ignored */
    char name[BOARD_NAME_MAX];
    char hash_key[BOARD_SERVER_MAX]; /* M: template as written */
    uint32_t max_load;               /* M: hundredths of the fair share; 0: no bound */
    uint32_t max_ejected;            /* M: percent */
    struct {
        uint32_t generation; /* M: 0 while being written; published last, by release */
        uint32_t first;      /* M: index into the ring area of this half */
        uint32_t count;      /* M: points; server = backend index on the board */
        uint32_t pad;
    } ring[2];          /* generation g stands in half g & 1 */
    uint32_t shed;      /* M: percent; 0: nothing is shed when servers are added */
    uint32_t shed_rate; /* M: a second */
} ALIGNED(CACHE_LINE);
_Static_assert(sizeof(struct board_upstream) == 256, "layout");

enum balance_policy { BALANCE_ROUND_ROBIN, BALANCE_HASH, BALANCE_LEAST_CONN, BALANCE_RANDOM_TWO };

/* Requests of one worker slot that wait for one upstream, all of whose servers are full. All W. */
struct board_queue {
    uint32_t waiting; /* now */
    uint32_t pad;
    uint64_t oldest_ns; /* monotonic: since when the oldest waits; 0: none does */
    uint64_t queued;    /* requests that had to wait */
    uint64_t waited_ms; /* all of them together, those that wait now left out */
    uint64_t timeouts;  /* refused after queue_timeout */
    uint64_t refused;   /* refused because the queue was full */
} ALIGNED(CACHE_LINE);

struct board_site {
    uint32_t used; /* M: as in board_backend */
    uint32_t pad;
    char name[BOARD_NAME_MAX]; /* M: first host of the site; "*" for a site without hosts */
} ALIGNED(CACHE_LINE);

/* A certificate of the published configuration. What is secret of it stands in the keys only. */
struct board_certificate {
    uint32_t used; /* M: generation that it belongs to; 0 while it is written */
    uint32_t type; /* M: enum cert_type */
    uint32_t bits; /* M: of its key */
    uint32_t name_count;
    uint64_t not_before_real_ms; /* M */
    uint64_t not_after_real_ms;  /* M */
    char path[BOARD_PATH_MAX];   /* M: as written; cut at the front if it is longer */
    char names[224];             /* M: "a.example *.b.example", cut between two */
} ALIGNED(CACHE_LINE);

/*
 * The public record of a tunnel. All W. `id` is written last on opening and zeroed first on
 * closing: a reader that finds the same non-zero id before and after has read one tunnel.
 */
struct board_tunnel {
    uint64_t id; /* board_tunnel_id; 0: free */
    uint64_t opened_real_ms;
    uint64_t active_ms; /* monotonic: last byte either way */
    uint64_t bytes[2];  /* [0] from the client, [1] from the backend; payload and frame headers */
    uint64_t frames[2]; /* whole frames */
    uint8_t client_ip[16]; /* IPv4 as ::ffff:a.b.c.d; all zero: UNIX socket */
    uint16_t client_port;
    uint16_t site;    /* index of board_site */
    uint16_t backend; /* index of board_backend */
    uint8_t tls;   /* of the client's side: enum tls_suite << 4 | enum tls_version (shm/vault.h); 0:
                    plain. A program before left the high half zero and has the suite in flags */
    uint8_t flags; /* TUNNEL_HAS_CARE */
    uint32_t client_gauge; /* where its client is counted (shm/board_gauge.h); 0: nowhere */
    uint32_t rtt_us;       /* of the last ping we sent; 0: none */
    uint32_t acked[2];     /* low half of what fd[d]'s peer has acknowledged, when last looked at:
                                 tells a slow receiver from one that takes nothing */
};
_Static_assert(sizeof(struct board_tunnel) == 96,
               "with 128 in the arena: under 256 bytes a tunnel");

/* The id of a slot's tunnel, by its record's number: comes again after 32,768 others of that record. Never 0. */
static inline uint64_t board_tunnel_id(uint32_t slot, uint16_t generation, uint32_t tunnel)
{
    return (uint64_t)slot << 56 | (uint64_t)generation << 32 | (tunnel + 1);
}

/* Whose id it is. One that is 0, or wrong, gives numbers that may be out of range. */
struct board_tunnel_place {
    uint32_t slot;
    uint32_t tunnel;
};

static inline struct board_tunnel_place board_tunnel_place(uint64_t id)
{
    return (struct board_tunnel_place){.slot = (uint32_t)(id >> 56), .tunnel = (uint32_t)id - 1};
}

/* Bits of board_tunnel.flags, none of the lower ones: see `tls`. */
enum { TUNNEL_HAS_CARE = 1 << 7 };

/*
 * What was done for a tunnel whose peers are pinged or limited; nobody looks at that of one without
 * TUNNEL_HAS_CARE, so it has no memory. All W.
 */
struct board_care {
    uint64_t pinged_ms;  /* monotonic: our last ping; 0: none yet */
    uint32_t pings;      /* sent, to either side */
    uint32_t limits_hit; /* times that a limit was met */
};
_Static_assert(sizeof(struct board_care) == 16, "layout");

/* What happened, for people. Each writer has a ring of its own: entry seq % events_per_writer. */
struct board_event {
    uint64_t seq; /* 1.. ; written last; 0: never used */
    uint64_t at_real_ms;
    char text[112]; /* `word key=value ...`, NUL-terminated */
};
_Static_assert(sizeof(struct board_event) == 128, "layout");

/* A mapped board. In the master and in workers writable, in the observer read-only. */
struct board {
    struct board_header *header;
    size_t size;          /* bytes mapped */
    uint32_t tunnels_max; /* as checked on mapping: the header itself is gossip */
    int fd; /* keeps the lock while it is open anywhere: children of the master close it;
                             -1 when not owned */
};

/* Sizes that differ between hosts. */
struct board_shape {
    uint32_t tunnels_max; /* tunnel records a slot */
};

/*
 * Master: create the board `name` ("/holdfast") anew, mapped writable, zeroed and laid out, and
 * keep it locked (flock) while this process or a successor that inherits the descriptor lives.
 * A stale board of that name is unlinked first: whoever still maps it keeps the old memory.
 * Returns 0, -EBUSY (another master holds the lock; *owner is its PID, 0 if unknown), or -errno.
 */
int board_create(struct board *board, const char *name, const struct board_shape *shape,
                 int32_t *owner) MUST_CHECK;

/*
 * Observer: map an existing board read-only. Checks magic, version, sizes, and that every area lies
 * inside the segment. Returns 0, -ENOENT (no such board), -EPROTO (not a board),
 * -EPROTONOSUPPORT (another layout version: *version tells which), -EBADMSG (inconsistent), -errno.
 */
int board_attach(struct board *board, const char *name, uint32_t *version) MUST_CHECK;

/*
 * Keeper, after it has exec'ed a new program: map the board behind an inherited descriptor, writable.
 * Checks it as board_attach does; the descriptor stays the caller's. A board that a program before has
 * made grows by the areas that it did not know. Returns likewise.
 */
int board_attach_inherited(struct board *board, int fd) MUST_CHECK;

/* Master, once its program serves: show what it counts, be it more or less than the one before. */
void board_show_counts(const struct board *board);

/* Unmap; the name stays. */
void board_fini(struct board *board);

/* Master, at a clean end: remove the name. */
int board_unlink(const char *name) MUST_CHECK;

/* Entries by index. The caller guarantees index < the header's maximum (ASSERT). */
struct board_slot *board_slot(const struct board *board, uint32_t slot);
struct board_backend *board_backend(const struct board *board, uint32_t backend);
struct board_cell *board_cell(const struct board *board, uint32_t slot, uint32_t backend);
struct board_check *board_check(const struct board *board, uint32_t backend);
struct board_upstream *board_upstream(const struct board *board, uint32_t upstream);
struct board_queue *board_queue(const struct board *board, uint32_t slot, uint32_t upstream);
struct board_site *board_site(const struct board *board, uint32_t site);
struct board_certificate *board_certificate(const struct board *board, uint32_t certificate);
struct board_tunnel *board_tunnel(const struct board *board, uint32_t slot, uint32_t tunnel);

/* The same; NULL on a board that has none: an observer's, of a program before. */
struct board_care *board_care(const struct board *board, uint32_t slot, uint32_t tunnel);

/* The ring area of one half, 0 or 1: BOARD_RING_POINTS_MAX points. */
struct ketama_point *board_ring_area(const struct board *board, uint32_t half);

/*
 * Master, on each reload: find the entry with this key or take a free one (an entry whose `used` is
 * older than `generation - 1` and that no slot has conns or tunnels on may be taken over: its cells are zeroed).
 * Sets used = generation. The names of a live entry never change: a name that does not fit is cut and
 * ends in '~' and its CRC-32, so that it stays a key. The writer of a new entry sets the other fields after.
 * An entry is taken over in the order: used = 0, names, used = generation. Entries that were never
 * used have an empty first name, and none in use stands behind them: readers stop there.
 * Returns the index, -ENOSPC, or -EINVAL for an empty name.
 */
int board_backend_register(const struct board *board, uint32_t generation, struct slice upstream,
                           struct slice server) MUST_CHECK;
int board_upstream_register(const struct board *board, uint32_t generation,
                            struct slice name) MUST_CHECK;
int board_site_register(const struct board *board, uint32_t generation,
                        struct slice name) MUST_CHECK;

/* Entry `index` of a writer's ring of events; both in range (ASSERT). */
struct board_event *board_event_at(const struct board *board, uint32_t writer, uint32_t index);

/*
 * Append an event. Each process only with its own writer number (0 master, 1 checker, 2 + slot).
 * A text that does not fit is cut.
 */
void board_event(const struct board *board, uint32_t writer, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/*
 * Live connections (tunnels and requests) to a backend, summed over all slots that ever started a worker
 * (`starts` is not 0): reading the others' cells would only make the kernel give memory to them. Any reader.
 */
uint32_t board_backend_conns(const struct board *board, uint32_t backend);

/* The slots that ever started a worker, a bit each; the same sum over these alone. Any reader. */
uint64_t board_slots_started(const struct board *board);
uint32_t board_backend_conns_in(const struct board *board, uint32_t backend, uint64_t slots);

/* Its live tunnels alone. Any reader. */
uint32_t board_backend_tunnels(const struct board *board, uint32_t backend);

#endif
