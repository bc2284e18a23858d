/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_expand.h"

#include "master/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t count_most(const struct conf *conf)
{
    uint32_t count = 0;
    for (uint32_t u = 0; u < conf->upstream_count; u++) {
        for (uint32_t s = 0; s < conf->upstreams[u].server_count; s++) {
            const struct conf_server *server = &conf->upstreams[u].servers[s];
            const struct names_answer *answer = names_find(conf->names, server->text);
            count += server->address.len > 0 ? 1 : answer ? answer->count : 0;
        }
    }
    return count;
}

/* Add a server of the upstream that began at `first`, unless it stands there already. */
static void add(struct conf_expansion *out, uint32_t first, const struct conf_expanded *server)
{
    for (uint32_t i = first; i < out->count; i++) {
        if (strcmp(out->servers[i].text, server->text) == 0)
            return;
    }
    struct conf_expanded *to = &out->servers[out->count++];
    *to = *server;
    if (!to->ring)
        to->ring = to->text;
}

static void add_written(struct conf_expansion *out, uint32_t first,
                        const struct conf_server *server)
{
    struct conf_expanded one = {.from = server,
                                .address = server->address,
                                .weight = server->weight,
                                .backup = server->backup};
    snprintf(one.text, sizeof(one.text), "%s", server->text);
    add(out, first, &one);
}

static void add_resolved(struct conf_expansion *out, uint32_t first,
                         const struct conf_server *server, const struct names_answer *answer)
{
    for (uint32_t i = 0; i < answer->count; i++) {
        const struct names_address *address = &answer->addresses[i];
        struct conf_expanded one = {
            .from = server,
            .address = address->address,
            .ring = answer->count == 1 ? server->text : NULL,
            .weight = address->weight != 0 ? address->weight : server->weight,
            .backup = server->backup || address->backup,
        };
        if (one.weight > CONF_WEIGHT_MAX)
            one.weight = CONF_WEIGHT_MAX;
        addr_print(&address->address, one.text);
        add(out, first, &one);
    }
}

static void expand_upstream(const struct conf *conf, uint32_t number, struct conf_expansion *out)
{
    const struct conf_upstream *upstream = &conf->upstreams[number];
    uint32_t first = out->count;
    out->first[number] = first;
    for (uint32_t s = 0; s < upstream->server_count; s++) {
        const struct conf_server *server = &upstream->servers[s];
        const struct names_answer *answer = names_find(conf->names, server->text);
        if (server->address.len > 0)
            add_written(out, first, server);
        else if (answer)
            add_resolved(out, first, server, answer);
    }
}

int conf_expand(const struct conf *conf, struct conf_expansion *out)
{
    *out = (struct conf_expansion){
        .servers = calloc(count_most(conf) + 1u, sizeof(struct conf_expanded)),
        .first = calloc(conf->upstream_count + 1u, sizeof(uint32_t)),
    };
    if (!out->servers || !out->first) {
        conf_expand_fini(out);
        return -ENOMEM;
    }
    for (uint32_t u = 0; u < conf->upstream_count; u++)
        expand_upstream(conf, u, out);
    out->first[conf->upstream_count] = out->count;
    return 0;
}

void conf_expand_fini(struct conf_expansion *expansion)
{
    free(expansion->servers);
    free(expansion->first);
    *expansion = (struct conf_expansion){0};
}
