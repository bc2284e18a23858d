/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/board_wave.h"

#include "shm/board.h"

/*
 * 2^32 / p and 2^32 / p^2, where p^3 = p + 1: the pair of steps whose points lie most evenly in a square.
 * Both are odd, so that no two tunnels of a slot have the same turn.
 */
#define STEP_TURN UINT32_C(0xC13FA9A9)
#define STEP_PICK UINT32_C(0x91E10DA5)
#define STEP_SLOT UINT32_C(0x9E3779B9)

void board_wave_set(struct board_wave *shown, const struct board_wave *wave)
{
    uint32_t serial = (shown->mark >> 8) + 1;
    /* Death from here to the last store: there is no wave, neither the one before nor this one. */
    STORE_RELAXED(&shown->mark, 0u);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (!wave)
        return;
    STORE_RELAXED(&shown->from_ms, wave->from_ms);
    STORE_RELAXED(&shown->opened_before_real_ms, wave->opened_before_real_ms);
    STORE_RELAXED(&shown->for_ms, wave->for_ms);
    STORE_RELAXED(&shown->share, wave->share);
    STORE_RELAXED(&shown->floor, wave->floor);
    STORE_RELEASE(&shown->mark, serial << 8 | (wave->mark & 0xff));
}

void board_wave_tell(const struct board *board)
{
    STORE_RELEASE(&board->header->wave_serial, board->header->wave_serial + 1);
}

bool board_wave_read(const struct board_wave *shown, struct board_wave *wave)
{
    uint32_t mark = LOAD_ACQUIRE(&shown->mark);
    if (mark == 0)
        return false;
    wave->from_ms = LOAD_RELAXED(&shown->from_ms);
    wave->opened_before_real_ms = LOAD_RELAXED(&shown->opened_before_real_ms);
    wave->for_ms = LOAD_RELAXED(&shown->for_ms);
    wave->share = LOAD_RELAXED(&shown->share);
    wave->floor = LOAD_RELAXED(&shown->floor);
    wave->mark = mark;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return LOAD_RELAXED(&shown->mark) == mark;
}

uint32_t board_wave_turn(const struct board *board, uint32_t slot, uint32_t tunnel)
{
    return tunnel * STEP_TURN + slot * STEP_SLOT + (uint32_t)board->header->hash_key[0];
}

uint32_t board_wave_pick(const struct board *board, uint32_t slot, uint32_t tunnel)
{
    return tunnel * STEP_PICK + slot * STEP_SLOT + (uint32_t)board->header->hash_key[1];
}
