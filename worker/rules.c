/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/rules.h"

#include "common/siphash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- which route it is ---- */

static uint64_t mix(const struct worker *w, uint64_t key, struct slice text)
{
    uint64_t both[2] = {key, siphash(w->board->header->hash_key, text)};
    struct slice bytes = {(const char *)both, sizeof both};
    return siphash(w->board->header->hash_key, bytes);
}

static uint64_t mix_texts(const struct worker *w, uint64_t key, const struct image *image,
                          struct image_array texts)
{
    for (uint32_t i = 0; i < texts.count; i++)
        key = mix(w, key, image_text(image, texts, i));
    /* The end of the list, by what no text is: what is a method in one route may be a field in another. */
    return mix(w, key, SLICE(""));
}

/* What tells a route from the others of its configuration, and what it keeps in the next one. */
static uint64_t key_of(const struct worker *w, const struct image *image,
                       const struct image_site *site, const struct image_route *route)
{
    uint64_t key = mix(w, route->match, image_slice(image, site->name));
    key = mix(w, key, image_slice(image, route->path));
    key = mix_texts(w, key, image, route->methods);
    key = mix_texts(w, key, image, route->headers);
    key = mix_texts(w, key, image, route->subprotocols);
    return key != 0 ? key : 1;
}

/* ---- the table ---- */

/* Where a route's rules are; `at` 0: not looked up yet. */
struct rules_place {
    uint64_t key;
    uint32_t at;
    uint32_t pad;
};

/* The entry with this key; else one that is free for it; 0: none. */
static uint32_t look_up(struct worker *w, uint64_t key)
{
    uint32_t used = w->arena->header->rules_used;
    uint32_t place = 0;
    for (uint32_t at = 1; at < used && at < ARENA_RULES_MAX; at++) {
        const struct arena_rules *rules = &w->arena->rules[at];
        if (rules->key == key)
            return at;
        if (place == 0 && rules->tunnels == 0)
            place = at;
    }
    if (place != 0)
        return place;
    place = used > 0 ? used : 1;
    return place < ARENA_RULES_MAX ? place : 0;
}

static void fill(struct arena_rules *rules, const struct image *image,
                 const struct image_route *route)
{
    struct slice reason = image_slice(image, route->close_reason);
    rules->flags = route->tunnel_flags;
    rules->idle_ms = route->idle_timeout_ms;
    rules->send_ms = route->send_timeout_ms;
    rules->ping_interval_ms = route->ping_interval_ms;
    rules->ping_timeout_ms = route->ping_timeout_ms;
    rules->close_timeout_ms = route->close_timeout_ms;
    rules->max_age_ms = route->max_age_ms;
    rules->max_age_spread_ms = route->max_age_spread_ms;
    rules->close_code = (uint16_t)route->close_code;
    rules->close_reason_len =
        (uint8_t)(reason.n < CLOSE_REASON_MAX ? reason.n : (size_t)CLOSE_REASON_MAX);
    memset(rules->close_reason, 0, sizeof rules->close_reason);
    if (rules->close_reason_len > 0)
        memcpy(rules->close_reason, reason.p, rules->close_reason_len);
    rules->limits = route->limits;
}

/* Of a route that stands in the configuration in use: looked up once. */
static struct rules_place *place_of(const struct worker *w, const struct image *image,
                                    const struct image_route *route)
{
    if (image != w->image || !w->rules)
        return NULL;
    return &w->rules[route - image_route(image, 0)];
}

uint16_t rules_find(struct worker *w, const struct image *image, const struct image_site *site,
                    const struct image_route *route)
{
    struct rules_place *place = place_of(w, image, route);
    uint64_t key = place ? place->key : key_of(w, image, site, route);
    uint32_t at = place && w->arena->rules[place->at].key == key ? place->at : look_up(w, key);
    struct arena_rules *rules = &w->arena->rules[at];
    if (place)
        place->at = at;
    /* A request of an older configuration goes by the newer rules, as the tunnels before it do. */
    if (at == 0 || (rules->key == key && rules->tunnels > 0))
        return (uint16_t)at;
    /* Death in here: nobody goes by them, so whoever needs them next fills them again. */
    fill(rules, image, route);
    COMMIT_FENCE();
    rules->key = key;
    if (at >= w->arena->header->rules_used)
        w->arena->header->rules_used = at + 1;
    return (uint16_t)at;
}

void rules_join(struct worker *w, const struct arena_tunnel *t)
{
    w->arena->rules[t->rules].tunnels++;
}

void rules_leave(struct worker *w, const struct arena_tunnel *t)
{
    struct arena_rules *rules = &w->arena->rules[t->rules % ARENA_RULES_MAX];
    if (rules->tunnels > 0)
        rules->tunnels--;
}

void rules_recount(struct worker *w)
{
    uint32_t used = w->arena->header->rules_used;
    for (uint32_t at = 1; at < used && at < ARENA_RULES_MAX; at++)
        w->arena->rules[at].tunnels = 0;
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        const struct arena_tunnel *t = &w->tunnels[i];
        if (t->state != TUNNEL_FREE && t->rules < used)
            w->arena->rules[t->rules].tunnels++;
    }
}

/* ---- a new configuration ---- */

static struct rules_place *places_of(const struct worker *w, const struct image *image)
{
    struct rules_place *places = calloc(image->header->routes.count + 1, sizeof *places);
    for (uint32_t i = 0; places && i < image->header->sites.count; i++) {
        const struct image_site *site = image_site(image, i);
        uint32_t first =
            (site->routes.off - image->header->routes.off) / (uint32_t)sizeof(struct image_route);
        for (uint32_t j = first; j < first + site->routes.count; j++)
            places[j].key = key_of(w, image, site, image_route(image, j));
    }
    return places;
}

/* The rules of tunnels that are open, if the configuration has their route. */
static bool refresh(struct worker *w, const struct image *image, struct arena_rules *rules)
{
    for (uint32_t i = 0; i < image->header->routes.count; i++) {
        if (w->rules[i].key != rules->key)
            continue;
        struct arena_rules before = *rules;
        fill(rules, image, image_route(image, i));
        return memcmp(&before, rules, sizeof before) != 0;
    }
    return false;
}

int rules_map(struct worker *w, const struct image *image)
{
    struct rules_place *places = places_of(w, image);
    if (!places)
        return -ENOMEM;
    free(w->rules);
    w->rules = places;
    return 0;
}

bool rules_refresh(struct worker *w)
{
    bool changed = false;
    uint32_t used = w->image ? w->arena->header->rules_used : 0; /* a successor may have none yet */
    for (uint32_t at = 1; at < used && at < ARENA_RULES_MAX; at++) {
        struct arena_rules *rules = &w->arena->rules[at];
        if (rules->tunnels > 0)
            changed |= refresh(w, w->image, rules);
    }
    return changed;
}
