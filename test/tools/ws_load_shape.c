/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_shape.h"

#include "common/ws_frame.h"
#include "test/tools/ws_load.h"

#include <errno.h>
#include <string.h>

enum {
    FIN = 0x80,
    EDGE_PERCENT = 10,    /* of the small messages have a size where the header changes */
    FRAGMENT_PERCENT = 15 /* of the frames are not their message's last */
};

static const struct ws_load_shape shapes[WS_LOAD_SHAPES] = {
    [SHAPE_CHAT] = {.name = "chat",
                    .weight = 36,
                    .size_max = 1000,
                    .window = 4,
                    .think_min = 20,
                    .think_max = 1500,
                    .count_min = 3,
                    .count_max = 60,
                    .forever = 60,
                    .ping = 10,
                    .split = 15,
                    .fast = true},
    [SHAPE_PINGPONG] = {.name = "pingpong",
                        .weight = 4,
                        .size_min = 1,
                        .size_max = 512,
                        .window = 1,
                        .count_min = 100,
                        .count_max = 4000,
                        .forever = 25,
                        .split = 2,
                        .limit = LIMIT_MESSAGES,
                        .fast = true},
    [SHAPE_BULK] = {.name = "bulk",
                    .weight = 8,
                    .size_min = 64 * 1024,
                    .size_max = 1024 * 1024,
                    .window = 2,
                    .count_min = 1,
                    .count_max = 8,
                    .split = 10,
                    .limit = LIMIT_BYTES},
    [SHAPE_SLOW] = {.name = "slow",
                    .weight = 10,
                    .size_min = 8 * 1024,
                    .size_max = 300 * 1024,
                    .window = 3,
                    .count_min = 1,
                    .count_max = 5,
                    .ping = 20,
                    .split = 10,
                    .limit = LIMIT_BYTES,
                    .slow = true},
    [SHAPE_SHORT] = {.name = "short",
                     .weight = 12,
                     .size_max = 2000,
                     .window = 4,
                     .think_min = 1,
                     .think_max = 300,
                     .count_max = 5,
                     .ping = 10,
                     .split = 20,
                     .eager = true},
    [SHAPE_HALF] = {.name = "half",
                    .weight = 10,
                    .size_min = 1,
                    .size_max = 150 * 1024,
                    .window = 6,
                    .count_min = 1,
                    .count_max = 6,
                    .ping = 10,
                    .split = 15,
                    .ending = ENDING_FIN,
                    .eager = true,
                    .limit = LIMIT_BYTES},
    [SHAPE_IDLE] = {.name = "idle",
                    .weight = 20,
                    .size_min = 1,
                    .size_max = 2000,
                    .window = 1,
                    .forever = 100},
    [SHAPE_ABORT] = {.name = "abort",
                     .size_min = 1,
                     .size_max = 200 * 1024,
                     .window = 4,
                     .count_min = 1,
                     .count_max = 6,
                     .split = 15,
                     .ending = ENDING_RST,
                     .eager = true,
                     .limit = LIMIT_BYTES},
    [SHAPE_PUSH] = {.name = "push",
                    .size_min = 64,
                    .size_max = 64,
                    .forever = 100,
                    .ending = ENDING_RST,
                    .eager = true},
};

const struct ws_load_shape *ws_load_shape(unsigned id)
{
    ASSERT(id < WS_LOAD_SHAPES);
    return &shapes[id];
}

int ws_load_shape_find(const char *name)
{
    for (int i = 0; i < WS_LOAD_SHAPES; i++) {
        if (strcmp(shapes[i].name, name) == 0)
            return i;
    }
    return -EINVAL;
}

static uint64_t draw_size(struct ws_load_plan *plan, const struct ws_load_shape *shape)
{
    static const uint16_t edges[] = {0, 1, 125, 126, 127};
    uint64_t edge = edges[ws_load_random(&plan->rng, 0, ARRAY_LEN(edges) - 1)];
    uint64_t size = ws_load_random(&plan->rng, shape->size_min, shape->size_max);
    bool at_edge = ws_load_random(&plan->rng, 0, 99) < EDGE_PERCENT;
    return at_edge && edge >= shape->size_min && edge <= shape->size_max ? edge : size;
}

struct ws_load_step ws_load_shape_step(struct ws_load_plan *plan, const struct ws_load_shape *shape,
                                       uint32_t size)
{
    struct ws_load_step step = {.first = plan->in_message ? WS_CONT : WS_BINARY};
    if (size != 0) {
        /* For measuring: every message alike and in one frame. */
        step.first = FIN | WS_BINARY;
        step.size = size;
        return step;
    }
    if (!plan->in_message)
        plan->left = draw_size(plan, shape);
    step.size = plan->left;
    plan->in_message = ws_load_random(&plan->rng, 0, 99) < FRAGMENT_PERCENT;
    if (plan->in_message)
        step.size = ws_load_random(&plan->rng, 0, plan->left);
    else
        step.first |= FIN;
    plan->left -= step.size;
    return step;
}
