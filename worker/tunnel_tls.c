/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tunnel_tls.h"

#include "worker/guard.h"
#include "worker/tls_burst.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tunnel_tls_engine(struct worker *w)
{
    if (!w->tls_engine)
        w->tls_engine = tls_engine_new();
    return w->tls_engine ? 0 : -ENOMEM;
}

uint8_t *tunnel_tls_content(struct worker *w)
{
    static uint8_t content[ARENA_CHUNK_SIZE]; /* one a process, untouched until it is needed */
    (void)w;
    return content;
}

uint8_t *tunnel_tls_walked(struct worker *w)
{
    static uint8_t walked[ARENA_CHUNK_SIZE + WS_WALK_EXTRA];
    (void)w;
    return walked;
}

/* ---- entries ---- */

static void wipe(struct worker *w, struct vault_side *entry)
{
    if (entry->session.version != TLS_PLAIN && w->tls_engine)
        tls_engine_forget(w->tls_engine, &entry->session);
    tls_session_wipe(&entry->session);
    memset(entry, 0, sizeof *entry);
}

/* Bytes that n bytes of content take when they are sealed in the first records of a burst. */
static size_t sealed_len(const struct tls_session *session, size_t n)
{
    size_t per = tls_burst_content(session, 0);
    return n + (n / per + 1) * TLS_OVERHEAD_MAX;
}

static bool fits(const struct tunnel_opening *o, uint32_t d)
{
    const struct tunnel_side_tls *src = &o->tls[d];
    const struct tunnel_side_tls *dst = &o->tls[!d];
    size_t n = o->held[d].n + src->plain.n;
    if (dst->session)
        n = dst->wire_out.n + TLS_CONTROL_MAX + WS_WALK_EXTRA +
            sealed_len(dst->session, o->held[d].n) + sealed_len(dst->session, src->plain.n);
    return n <= ARENA_CHUNK_SIZE && src->wire_in.n <= ARENA_CHUNK_SIZE;
}

static void fill_side(struct worker *w, uint32_t side, uint32_t index,
                      const struct tunnel_side_tls *from)
{
    struct vault_side *entry = &w->vault.sides[side][index];
    /* First, so that a successor looks at it and wipes it if the tunnel does not come to be. */
    if (index >= w->vault.header->used[side])
        w->vault.header->used[side] = index + 1;
    COMMIT_FENCE();
    memset(entry, 0, sizeof *entry);
    entry->session = *from->session;
    entry->burst = from->burst;
    entry->burst_ms = w->now_ms;
    if (from->wire_in.n > 0) {
        entry->in_chunk = (uint16_t)tunnel_chunk_take(w);
        entry->in_len = (uint16_t)from->wire_in.n;
        memcpy(arena_chunk(w->arena, entry->in_chunk), from->wire_in.p, from->wire_in.n);
    }
}

int tunnel_tls_fill(struct worker *w, uint32_t tunnel, const struct tunnel_opening *o)
{
    uint32_t mask = (o->tls[0].session ? 1u : 0) | (o->tls[1].session ? 2u : 0);
    if (mask == 0)
        return 0;
    if (!fits(o, 0) || !fits(o, 1))
        return -EMSGSIZE;
    bool reuse = w->free_side_count > 0;
    if (!reuse && w->sides_used == w->vault.header->sides_max)
        return -ENOBUFS;
    uint32_t index = reuse ? w->free_sides[--w->free_side_count] : w->sides_used++;
    for (uint32_t side = 0; side < 2; side++) {
        if (mask & 1u << side)
            fill_side(w, side, index, &o->tls[side]);
    }
    w->tunnels[tunnel].tls = index << 2 | mask;
    return 0;
}

/* Append content, sealed if the destination is TLS. Returns the bytes it has become. */
static uint32_t stage_content(struct worker *w, struct vault_side *dst, struct slice content,
                              uint8_t *to)
{
    const uint8_t *bytes = (const uint8_t *)content.p;
    uint32_t out = 0;
    if (!dst) {
        if (content.n > 0)
            memcpy(to, bytes, content.n);
        return (uint32_t)content.n;
    }
    for (size_t done = 0; done < content.n;) {
        size_t k = tls_burst_content(&dst->session, dst->burst);
        k = content.n - done < k ? content.n - done : k;
        int n = tls_record_seal(w->tls_engine, &dst->session, TLS_APPLICATION, bytes + done, k,
                                to + out);
        ASSERT(n > 0);
        out += (uint32_t)n;
        done += k;
        dst->burst = tls_burst_add(dst->burst, k);
    }
    dst->sealed += (uint32_t)content.n;
    return out;
}

void tunnel_tls_count(struct worker *w, uint32_t tunnel, uint32_t d, const struct tunnel_opening *o)
{
    struct vault_side *src = tunnel_tls_side(w, tunnel, d);
    uint32_t head = d == 1 ? o->head_len : 0;
    /* What a walk has kept back, or taken out, was opened, too. */
    if (src)
        src->opened =
            (uint32_t)(o->held[d].n + o->tls[d].plain.n) - head - guard_extra(w, tunnel, d);
}

uint32_t tunnel_tls_stage(struct worker *w, uint32_t tunnel, uint32_t d,
                          const struct tunnel_opening *o, uint8_t *chunk)
{
    struct vault_side *dst = tunnel_tls_side(w, tunnel, !d);
    struct slice before = o->tls[!d].wire_out;
    uint32_t head = d == 1 ? o->head_len : 0;
    if (before.n > 0)
        memcpy(chunk, before.p, before.n);
    uint32_t n = (uint32_t)before.n;
    n += stage_content(w, dst, o->held[d], chunk + n);
    n += stage_content(w, dst, o->tls[d].plain, chunk + n);
    if (dst)
        dst->sealed -= head;
    for (uint32_t side = 0; side < 2; side++) {
        struct vault_side *entry = tunnel_tls_side(w, tunnel, side);
        if (entry)
            entry->check = vault_check(&entry->session);
    }
    return n;
}

void tunnel_tls_drop(struct worker *w, uint32_t tunnel)
{
    struct arena_tunnel *t = &w->tunnels[tunnel];
    if (t->tls == 0)
        return;
    uint32_t index = t->tls >> 2;
    /* The journal may hold what was this tunnel's. No step is in flight but the close. */
    for (uint32_t i = 0; i < 2; i++)
        tls_session_wipe(&w->vault.header->op.before[i].session);
    for (uint32_t side = 0; side < 2; side++) {
        struct vault_side *entry = tunnel_tls_side(w, tunnel, side);
        if (!entry)
            continue;
        uint32_t chunk = entry->in_chunk;
        wipe(w, entry);
        if (chunk != 0)
            tunnel_chunk_free(w, chunk);
    }
    /* Death before this: nothing is left in the entries, and the record is still ours to close. */
    COMMIT_FENCE();
    t->tls = 0;
    w->free_sides[w->free_side_count++] = index;
}

bool tunnel_tls_content_bytes(const struct worker *w, uint32_t tunnel, uint32_t d, uint32_t *bytes)
{
    const struct vault_side *src = tunnel_tls_side(w, tunnel, d);
    const struct vault_side *dst = tunnel_tls_side(w, tunnel, !d);
    const struct vault_side *side = src ? src : dst;
    *bytes = src ? src->opened : dst->sealed - guard_extra(w, tunnel, d);
    return side->session.version != TLS_PLAIN;
}

bool tunnel_tls_must_run(const struct worker *w, uint32_t tunnel, uint32_t d)
{
    const struct vault_side *src = tunnel_tls_side(w, tunnel, d);
    bool over = src && src->session.flags & TLS_RECV_CLOSE;
    return over && !(w->tunnels[tunnel].dir[d].flags & DIR_EOF);
}

/* ---- start ---- */

static void claim_entry(struct worker *w, uint32_t tunnel, uint8_t *owned, uint8_t *used_chunks)
{
    uint32_t index = w->tunnels[tunnel].tls >> 2;
    owned[index] = 1;
    for (uint32_t side = 0; side < 2; side++) {
        const struct vault_side *entry = tunnel_tls_side(w, tunnel, side);
        if (entry && entry->in_chunk < w->arena->header->chunks_max)
            used_chunks[entry->in_chunk] = 1;
    }
}

/* What no tunnel owns, because its worker died while it opened or closed it, keeps no key. */
static void wipe_strays(struct worker *w, const uint8_t *owned)
{
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < w->vault.header->used[side]; i++) {
            if (!owned[i] && w->vault.sides[side][i].session.version != TLS_PLAIN)
                wipe(w, &w->vault.sides[side][i]);
        }
    }
}

int tunnel_tls_init(struct worker *w, uint8_t *used_chunks)
{
    struct vault_header *header = w->vault.header;
    uint32_t max = header->sides_max;
    w->free_sides = malloc(max * sizeof *w->free_sides);
    uint8_t *owned = calloc(max, 1);
    if (!w->free_sides || !owned) {
        free(owned);
        return -ENOMEM;
    }
    for (uint32_t side = 0; side < 2; side++) {
        if (header->used[side] > max)
            header->used[side] = max; /* a wild store */
    }
    w->sides_used = header->used[0] > header->used[1] ? header->used[0] : header->used[1];
    for (uint32_t i = 0; i < w->tunnels_used; i++) {
        const struct arena_tunnel *t = &w->tunnels[i];
        if (t->state != TUNNEL_FREE && t->tls != 0 && t->tls >> 2 < max)
            claim_entry(w, i, owned, used_chunks);
    }
    wipe_strays(w, owned);
    for (uint32_t i = w->sides_used; i > 0; i--) {
        if (!owned[i - 1])
            w->free_sides[w->free_side_count++] = i - 1;
    }
    free(owned);
    return 0;
}

/* ---- after a crash ---- */

static bool side_holds(const struct worker *w, const struct vault_side *entry, uint8_t *chunks)
{
    const struct tls_session *session = &entry->session;
    if (!tls_session_is_known(session) || entry->check != vault_check(session))
        return false;
    if (entry->in_chunk == 0)
        return true;
    bool first = entry->in_chunk < w->arena->header->chunks_max && chunks[entry->in_chunk] == 0;
    if (first)
        chunks[entry->in_chunk] = 1;
    return first && entry->in_len <= ARENA_CHUNK_SIZE;
}

bool tunnel_tls_holds(const struct worker *w, uint32_t tunnel, uint8_t *claimed, uint8_t *chunks)
{
    uint32_t tls = w->tunnels[tunnel].tls;
    uint32_t index = tls >> 2;
    if (tls == 0)
        return true;
    if ((tls & 3) == 0 || index >= w->vault.header->sides_max || claimed[index])
        return false;
    claimed[index] = 1;
    for (uint32_t side = 0; side < 2; side++) {
        const struct vault_side *entry = tunnel_tls_side(w, tunnel, side);
        if (entry && (index >= w->vault.header->used[side] || !side_holds(w, entry, chunks)))
            return false;
    }
    return true;
}
