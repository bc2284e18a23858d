/* SPDX-License-Identifier: Apache-2.0 */
#include "master/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_sound_address(const struct names_address *address)
{
    const struct addr *addr = &address->address;
    if (address->backup > 1 || addr_port(addr) == 0)
        return false;
    return (addr->u.sa.sa_family == AF_INET && addr->len == sizeof(addr->u.in)) ||
           (addr->u.sa.sa_family == AF_INET6 && addr->len == sizeof(addr->u.in6));
}

bool names_is_sound(const struct names_answer *answer)
{
    if (answer->magic != NAMES_MAGIC || answer->count == 0 || answer->count > NAMES_ADDRESSES_MAX ||
        answer->text[0] == '\0' || !memchr(answer->text, '\0', sizeof(answer->text)))
        return false;
    for (uint32_t i = 0; i < answer->count; i++) {
        if (!is_sound_address(&answer->addresses[i]))
            return false;
    }
    return true;
}

static int compare(const void *left, const void *right)
{
    const struct names_address *a = left, *b = right;
    char x[ADDR_TEXT_MAX], y[ADDR_TEXT_MAX];
    if (a->backup != b->backup)
        return a->backup < b->backup ? -1 : 1;
    addr_print(&a->address, x);
    addr_print(&b->address, y);
    return strcmp(x, y);
}

void names_sort(struct names_answer *answer)
{
    uint32_t kept = 0;
    qsort(answer->addresses, answer->count, sizeof(answer->addresses[0]), compare);
    for (uint32_t i = 0; i < answer->count; i++) {
        bool twice = false;
        for (uint32_t j = 0; j < kept && !twice; j++)
            twice = addr_eq(&answer->addresses[j].address, &answer->addresses[i].address);
        if (!twice)
            answer->addresses[kept++] = answer->addresses[i];
    }
    answer->count = kept;
}

bool names_equal(const struct names_answer *a, const struct names_answer *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct names_address *x = &a->addresses[i], *y = &b->addresses[i];
        if (x->weight != y->weight || x->backup != y->backup || !addr_eq(&x->address, &y->address))
            return false;
    }
    return true;
}

static struct names_answer **place_of(const struct names *names, const char *text)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->answers[i]->text, text) == 0)
            return &names->answers[i];
    }
    return NULL;
}

const struct names_answer *names_find(const struct names *names, const char *text)
{
    struct names_answer **place = names ? place_of(names, text) : NULL;
    return place ? *place : NULL;
}

int names_set(struct names *names, const struct names_answer *answer)
{
    struct names_answer **place = place_of(names, answer->text);
    if (place && names_equal(*place, answer))
        return 0;
    if (place) {
        **place = *answer;
        return 1;
    }
    struct names_answer *copy = malloc(sizeof(*copy));
    struct names_answer **more =
        realloc(names->answers, (names->count + 1u) * sizeof(struct names_answer *));
    if (more)
        names->answers = more;
    if (!copy || !more) {
        free(copy);
        return -ENOMEM;
    }
    *copy = *answer;
    names->answers[names->count++] = copy;
    return 1;
}

bool names_wanted(const struct conf *conf, const char *text)
{
    for (uint32_t u = 0; u < conf->upstream_count; u++) {
        const struct conf_upstream *upstream = &conf->upstreams[u];
        for (uint32_t s = 0; s < upstream->server_count; s++) {
            const struct conf_server *server = &upstream->servers[s];
            if (server->address.len == 0 && strcmp(server->text, text) == 0)
                return true;
        }
    }
    return false;
}

void names_keep(struct names *names, const struct conf *conf)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < names->count; i++) {
        if (names_wanted(conf, names->answers[i]->text))
            names->answers[kept++] = names->answers[i];
        else
            free(names->answers[i]);
    }
    names->count = kept;
}

void names_fini(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        free(names->answers[i]);
    free(names->answers);
    *names = (struct names){0};
}
