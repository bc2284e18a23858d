/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for open tunnels, by route (shm/arena_rules.h): made at the upgrade, changed by reloads. */
#ifndef WORKER_RULES_H
#define WORKER_RULES_H

#include "worker/context.h"

static inline const struct arena_rules *rules_of(const struct worker *w,
                                                 const struct arena_tunnel *t)
{
    return &w->arena->rules[t->rules % ARENA_RULES_MAX];
}

/*
 * The rules of a route's tunnels, as it stands in `image`: those of an earlier configuration's same route
 * (site, path, conditions) or new ones. Returns their number, 0 if there is no place.
 */
uint16_t rules_find(struct worker *w, const struct image *image, const struct image_site *site,
                    const struct image_route *route) MUST_CHECK;

/* A tunnel begins, or ends, to go by its rules: those that no tunnel goes by may be others' next. */
void rules_join(struct worker *w, const struct arena_tunnel *t);
void rules_leave(struct worker *w, const struct arena_tunnel *t);

/* Adoption: count anew who goes by them. */
void rules_recount(struct worker *w);

/* A new configuration is about to be used: whose routes are these? Returns 0 or -ENOMEM. */
int rules_map(struct worker *w, const struct image *image) MUST_CHECK;

/*
 * The configuration in use is new: open tunnels of the routes that it still has go by what it says from
 * now on, those of other routes as before. Not amid a step. True if anything has changed: then
 * all tunnels are to be looked after.
 */
bool rules_refresh(struct worker *w);

#endif
