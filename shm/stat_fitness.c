/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_fitness.h"

#include "shm/passive.h"

static enum passive_state passive_of(const struct stat_view *view,
                                     const struct board_backend *backend)
{
    const struct passive_limits limits = {backend->max_fails, backend->fail_timeout_ms};
    return passive_state(backend, limits, view->mono_ms);
}

bool stat_fitness_ejected(const struct stat_view *view, const struct board_backend *backend)
{
    return passive_of(view, backend) != PASSIVE_IN;
}

uint64_t stat_fitness_slow_percent(const struct stat_view *view,
                                   const struct board_backend *backend)
{
    uint64_t since_ms =
        view->mono_ms > backend->recovered_ms ? view->mono_ms - backend->recovered_ms : 0;
    if (backend->recovered_ms == 0 || since_ms >= backend->slow_start_ms)
        return 100;
    return since_ms * 100 / backend->slow_start_ms;
}

const char *stat_fitness_state(const struct stat_view *view, const struct board_backend *backend)
{
    if (backend->flags & BACKEND_DOWN)
        return "down";
    if (backend->health == BACKEND_FAILING)
        return "failing";
    if (stat_fitness_ejected(view, backend))
        return "ejected";
    if (backend->flags & BACKEND_DRAINS)
        return "draining";
    return stat_fitness_slow_percent(view, backend) < 100 ? "starting" : "up";
}

uint64_t stat_fitness_since(const struct stat_view *view, const struct board_backend *backend)
{
    uint64_t checks = backend->since_real_ms, requests = backend->passive_real_ms;
    if (backend->health == BACKEND_FAILING)
        return checks;
    if (stat_fitness_ejected(view, backend))
        return requests;
    return checks > requests ? checks : requests;
}

bool stat_fitness_in_force(const struct stat_view *view, const struct board_backend *backend,
                           bool panic)
{
    return !(backend->flags & (BACKEND_DOWN | BACKEND_DRAINS)) &&
           backend->health != BACKEND_FAILING &&
           (panic || passive_of(view, backend) != PASSIVE_OUT);
}
