/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waves: many tunnels that are to end, spread evenly over a time. The master writes when one begins
 * and how long it takes; each worker finds out by itself when its tunnels' turns are. A turn is a
 * function of what stands on the board and of the tunnel's number, so nothing has to be remembered:
 * whoever serves the tunnel then closes it, whatever has died or was upgraded meanwhile.
 */
#ifndef SHM_BOARD_WAVE_H
#define SHM_BOARD_WAVE_H

#include <stdbool.h>
#include <stdint.h>

struct board;

#define BOARD_WAVE_ALL UINT32_MAX

struct board_wave {
    uint64_t from_ms;               /* M: monotonic */
    uint64_t opened_before_real_ms; /* M: later ones are left alone; 0: none is */
    uint32_t for_ms;                /* M */
    uint32_t share;                 /* M: how many of them, of 2^32; BOARD_WAVE_ALL */
    uint32_t floor; /* M: none is closed while its server has no more tunnels than so many */
    uint32_t mark;  /* M: written last, 0 first: serial << 8 | enum reason; 0: no wave */
};
_Static_assert(sizeof(struct board_wave) == 32, "layout");

/*
 * Master: replace a wave on the board, or call it off (`wave` NULL). board_wave_tell follows. `wave`'s
 * mark is its reason.
 */
void board_wave_set(struct board_wave *shown, const struct board_wave *wave);

/* Master: something about waves has changed, or a server's drain_until_ms: workers look at their tunnels. */
void board_wave_tell(const struct board *board);

/*
 * Copy a wave. False: there is none, or it is being written, and board_wave_tell will follow.
 * Any reader.
 */
bool board_wave_read(const struct board_wave *shown, struct board_wave *wave);

/*
 * Where in a wave a tunnel's turn is, and whether it is among a share (its pick is below that), both of
 * 2^32. Additive sequences of the tunnel's number, shifted by the board's key: the turns of any run
 * of numbers lie evenly, and those of a share of them, too. Of hashes, one wave of 2,000 in forty would
 * have a tenth with a fifth too many or too few. Any reader.
 */
uint32_t board_wave_turn(const struct board *board, uint32_t slot, uint32_t tunnel);
uint32_t board_wave_pick(const struct board *board, uint32_t slot, uint32_t tunnel);

#endif
