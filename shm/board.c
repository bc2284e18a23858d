/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board.h"

#include "common/clock.h"
#include "shm/board_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CREATE_TRIES = 10 };

/* Who wrote the header of the board behind `fd`; 0 if it does not say. */
static int32_t read_owner(int fd)
{
    struct board_header header;
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        header.magic != BOARD_MAGIC || header.version != BOARD_VERSION || header.master_pid < 0)
        return 0;
    return header.master_pid;
}

/*
 * Lock the file behind `fd`, and find out whether it still has a name: another master may have
 * unlinked it between our open and our lock.
 * Returns 0, -EBUSY (locked by another), -ESTALE (no name any more) or -errno.
 */
static int lock_named(int fd)
{
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    return st.st_nlink == 0 ? -ESTALE : 0;
}

/* Unlink a board that nobody locks. Returns 0 (also if there is none), -EBUSY, -ESTALE (look again). */
static int remove_stale(const char *name, int32_t *owner)
{
    int fd = shm_open(name, O_RDWR, 0);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int rc = lock_named(fd);
    if (rc == -EBUSY)
        *owner = read_owner(fd);
    else if (rc == 0 && shm_unlink(name) < 0 && errno != ENOENT)
        rc = -errno;
    close(fd);
    return rc;
}

/* A new, empty, locked file with this name. Returns its descriptor or -errno. */
static int create_locked(const char *name, int32_t *owner)
{
    int rc = -EBUSY;
    for (int i = 0; i < CREATE_TRIES; i++) {
        rc = remove_stale(name, owner);
        if (rc == -ESTALE)
            continue;
        if (rc < 0)
            return rc;
        int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0640);
        if (fd < 0 && errno == EEXIST) {
            rc = -EBUSY;
            continue;
        }
        if (fd < 0)
            return -errno;
        rc = lock_named(fd);
        if (rc == 0)
            return fd;
        close(fd);
        if (rc != -ESTALE)
            return rc;
    }
    return rc == -ESTALE ? -EBUSY : rc;
}

static int map(struct board *board, int fd, size_t size, int protection)
{
    void *at = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    board->header = at;
    board->size = size;
    return 0;
}

/*
 * A mapping holds on to the open file it was made from, and the lock would live as long: in every
 * child that inherits the map. So map through an open file of its own; the name is ours, we lock it.
 */
static int map_without_lock(struct board *board, const char *name, size_t size)
{
    int fd = shm_open(name, O_RDWR, 0);
    if (fd < 0)
        return -errno;
    int rc = map(board, fd, size, PROT_READ | PROT_WRITE);
    close(fd);
    return rc;
}

int board_create(struct board *board, const char *name, const struct board_shape *shape,
                 int32_t *owner)
{
    struct board_header layout = {0};
    *board = (struct board){.fd = -1};
    *owner = 0;
    int rc = board_layout_fill(&layout, shape);
    if (rc < 0)
        return rc;
    int fd = create_locked(name, owner);
    if (fd < 0)
        return fd;
    /* shm_open obeys the umask; our mode is a promise to the observers' group. */
    rc = fchmod(fd, 0640) < 0 || ftruncate(fd, (off_t)layout.size) < 0 ? -errno : 0;
    if (rc == 0)
        rc = map_without_lock(board, name, (size_t)layout.size);
    if (rc < 0) {
        shm_unlink(name);
        close(fd);
        return rc;
    }
    if (getrandom(layout.hash_key, sizeof layout.hash_key, 0) < 0)
        ASSERT(errno == EINTR); /* it blocks before the kernel has randomness, and never fails */
    layout.master_pid = (int32_t)getpid();
    layout.started_real_ms = clock_real_ms();
    layout.beat_ms = clock_mono_ms();
    *board->header = layout;
    board->fd = fd;
    board->tunnels_max = shape->tunnels_max;
    /* Until now an observer read "not a board"; from here on it finds all sizes in place. */
    STORE_RELEASE(&board->header->magic, BOARD_MAGIC);
    return 0;
}

/* Judge a copy of the header: what we go by must be what was judged. */
static int check(struct board *board, uint32_t *version)
{
    if (LOAD_ACQUIRE(&board->header->magic) != BOARD_MAGIC)
        return -EPROTO;
    const struct board_header header = *board->header;
    *version = header.version;
    board->tunnels_max = header.tunnels_max;
    return board_layout_check(&header, board->size);
}

/* Map what is behind `fd`, which stays the caller's, and judge it. */
static int attach(struct board *board, int fd, int protection, uint32_t *version)
{
    struct stat st;
    *board = (struct board){.fd = -1};
    *version = 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct board_header))
        return -EPROTO;
    int rc = map(board, fd, (size_t)st.st_size, protection);
    if (rc < 0)
        return rc;
    rc = check(board, version);
    if (rc < 0)
        board_fini(board);
    return rc;
}

int board_attach(struct board *board, const char *name, uint32_t *version)
{
    *board = (struct board){.fd = -1};
    *version = 0;
    int fd = shm_open(name, O_RDONLY, 0);
    if (fd < 0)
        return -errno;
    int rc = attach(board, fd, PROT_READ, version);
    close(fd);
    return rc;
}

/*
 * Several processes may do so at a time, all to the same size; those of the program before have mapped
 * what they know. Where it cannot be done, nothing is shown there.
 */
static int grow(struct board *board, int fd)
{
    size_t size = (size_t)board_layout_size(board->tunnels_max);
    if (board->size >= size || ftruncate(fd, (off_t)size) < 0)
        return 0;
    struct board grown = {.fd = -1, .tunnels_max = board->tunnels_max};
    int rc = map(&grown, fd, size, PROT_READ | PROT_WRITE);
    board_fini(board);
    if (rc == 0)
        *board = grown;
    return rc;
}

int board_attach_inherited(struct board *board, int fd)
{
    uint32_t version;
    int rc = attach(board, fd, PROT_READ | PROT_WRITE, &version);
    return rc < 0 ? rc : grow(board, fd);
}

void board_show_counts(const struct board *board)
{
    STORE_RELAXED(&board->header->counter_count, (uint32_t)COUNTER_COUNT);
    STORE_RELAXED(&board->header->reason_count, (uint32_t)REASON_COUNT);
}

void board_fini(struct board *board)
{
    if (board->header)
        munmap(board->header, board->size);
    if (board->fd >= 0)
        close(board->fd);
    *board = (struct board){.fd = -1};
}

int board_unlink(const char *name)
{
    return shm_unlink(name) < 0 ? -errno : 0;
}

static void *area(const struct board *board, uint64_t offset)
{
    return (uint8_t *)board->header + offset;
}

struct board_slot *board_slot(const struct board *board, uint32_t slot)
{
    ASSERT(slot < BOARD_SLOTS_MAX);
    return (struct board_slot *)area(board, BOARD_SLOTS_OFF) + slot;
}

struct board_backend *board_backend(const struct board *board, uint32_t backend)
{
    ASSERT(backend < BOARD_BACKENDS_MAX);
    return (struct board_backend *)area(board, BOARD_BACKENDS_OFF) + backend;
}

struct board_cell *board_cell(const struct board *board, uint32_t slot, uint32_t backend)
{
    ASSERT(slot < BOARD_SLOTS_MAX && backend < BOARD_BACKENDS_MAX);
    return (struct board_cell *)area(board, BOARD_CELLS_OFF) + (size_t)slot * BOARD_BACKENDS_MAX +
           backend;
}

struct board_upstream *board_upstream(const struct board *board, uint32_t upstream)
{
    ASSERT(upstream < BOARD_UPSTREAMS_MAX);
    return (struct board_upstream *)area(board, BOARD_UPSTREAMS_OFF) + upstream;
}

struct board_check *board_check(const struct board *board, uint32_t backend)
{
    ASSERT(backend < BOARD_BACKENDS_MAX);
    return (struct board_check *)area(board, BOARD_CHECKS_OFF) + backend;
}

struct board_queue *board_queue(const struct board *board, uint32_t slot, uint32_t upstream)
{
    ASSERT(slot < BOARD_SLOTS_MAX && upstream < BOARD_UPSTREAMS_MAX);
    return (struct board_queue *)area(board, BOARD_QUEUES_OFF) +
           (size_t)slot * BOARD_UPSTREAMS_MAX + upstream;
}

struct board_site *board_site(const struct board *board, uint32_t site)
{
    ASSERT(site < BOARD_SITES_MAX);
    return (struct board_site *)area(board, BOARD_SITES_OFF) + site;
}

struct board_certificate *board_certificate(const struct board *board, uint32_t certificate)
{
    ASSERT(certificate < BOARD_CERTIFICATES_MAX);
    return (struct board_certificate *)area(board, BOARD_CERTIFICATES_OFF) + certificate;
}

struct board_tunnel *board_tunnel(const struct board *board, uint32_t slot, uint32_t tunnel)
{
    ASSERT(slot < BOARD_SLOTS_MAX && tunnel < board->tunnels_max);
    return (struct board_tunnel *)area(board, BOARD_TUNNELS_OFF) +
           (size_t)slot * board->tunnels_max + tunnel;
}

struct board_care *board_care(const struct board *board, uint32_t slot, uint32_t tunnel)
{
    ASSERT(slot < BOARD_SLOTS_MAX && tunnel < board->tunnels_max);
    if (board->size < board_layout_size(board->tunnels_max))
        return NULL;
    return (struct board_care *)area(board, board_layout_care_off(board->tunnels_max)) +
           (size_t)slot * board->tunnels_max + tunnel;
}

struct ketama_point *board_ring_area(const struct board *board, uint32_t half)
{
    ASSERT(half < 2);
    return (struct ketama_point *)area(board, BOARD_RINGS_OFF) +
           (size_t)half * BOARD_RING_POINTS_MAX;
}

struct board_event *board_event_at(const struct board *board, uint32_t writer, uint32_t index)
{
    ASSERT(writer < BOARD_EVENT_WRITERS && index < BOARD_EVENTS_PER_WRITER);
    return (struct board_event *)area(board, BOARD_EVENTS_OFF) +
           (size_t)writer * BOARD_EVENTS_PER_WRITER + index;
}

uint64_t board_slots_started(const struct board *board)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++)
        slots |= (uint64_t)(LOAD_RELAXED(&board_slot(board, i)->starts) != 0) << i;
    return slots;
}

uint32_t board_backend_conns_in(const struct board *board, uint32_t backend, uint64_t slots)
{
    uint32_t sum = 0;
    for (; slots != 0; slots &= slots - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(slots);
        sum += LOAD_RELAXED(&board_cell(board, slot, backend)->conns);
    }
    return sum;
}

uint32_t board_backend_tunnels(const struct board *board, uint32_t backend)
{
    uint32_t sum = 0;
    for (uint64_t slots = board_slots_started(board); slots != 0; slots &= slots - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(slots);
        const struct board_cell *cell = board_cell(board, slot, backend);
        uint32_t closing = LOAD_RELAXED(&cell->closing);
        uint32_t tunnels = LOAD_RELAXED(&cell->tunnels);
        sum += tunnels > closing ? tunnels - closing : 0;
    }
    return sum;
}

uint32_t board_backend_conns(const struct board *board, uint32_t backend)
{
    return board_backend_conns_in(board, backend, board_slots_started(board));
}
