/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "master/checker_names.h"

#include "common/clock.h"
#include "common/log.h"
#include "master/conf_name.h"
#include "master/names.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    QUERY_TIMEOUT_MS = 1000, /* the first try's; c-ares doubles it */
    QUERY_TRIES = 3,
    TTL_MIN_MS = 1000, /* some names say 0: not more often than that */
    TTL_MAX_MS = 3600000,
    AGAIN_FIRST_MS = 1000, /* after a failure; then doubled */
    AGAIN_MAX_MS = 30000,
    WAIT_MAX_MS = 1000,
};

/* One name. Never moves: lookups under way point to it. */
struct name {
    struct checker_names *owner;
    struct conf_name what;
    bool wanted;       /* the image has it */
    bool known;        /* `answer` is good */
    bool unsent;       /* the master has not been told */
    bool nothing;      /* the last failure: it was answered, but without an address */
    bool failed;       /* one of the lookups under way */
    uint32_t pending;  /* lookups under way */
    uint32_t again_ms; /* pause after the last failure */
    uint32_t ttl_ms;   /* least of the lookups under way */
    uint16_t first;    /* SRV: the best priority so far */
    uint64_t due_ms;
    struct names_answer answer;             /* the last good one, its text set from the beginning */
    struct names_answer next;               /* what the lookups under way have found */
    uint16_t priority[NAMES_ADDRESSES_MAX]; /* of next */
};

struct checker_names {
    int epoll;
    int control;
    char *resolver; /* owned: as configured, "": the system's */
    ares_channel channel;
    bool channel_open;
    bool told;        /* that it could not be opened */
    uint64_t open_ms; /* when to try that (again) */
    struct name **items;
    uint32_t count;
};

/* A lookup of one host, for a name. */
struct lookup {
    struct name *name;
    uint16_t port;
    uint16_t weight;
    uint16_t priority;
};

/* ---- what the lookups find ---- */

static void finish(struct name *name)
{
    uint64_t now_ms = clock_mono_ms();
    if (name->failed || name->next.count == 0) {
        bool first = name->again_ms == 0 || name->nothing == name->failed;
        name->nothing = !name->failed;
        name->again_ms = name->again_ms == 0                 ? AGAIN_FIRST_MS
                         : name->again_ms < AGAIN_MAX_MS / 2 ? 2 * name->again_ms
                                                             : AGAIN_MAX_MS;
        name->due_ms = now_ms + name->again_ms;
        if (first)
            log_write(LOG_LEVEL_WARN, "not_resolved", "name=%s reason=%s kept=%u",
                      name->answer.text, name->nothing ? "no_address" : "no_answer",
                      name->known ? name->answer.count : 0);
        return;
    }
    for (uint32_t i = 0; i < name->next.count; i++)
        name->next.addresses[i].backup = name->priority[i] > name->first;
    names_sort(&name->next);
    name->again_ms = 0;
    name->due_ms = now_ms + name->ttl_ms;
    if (name->known && names_equal(&name->answer, &name->next))
        return;
    name->answer.count = name->next.count;
    memcpy(name->answer.addresses, name->next.addresses, sizeof(name->next.addresses));
    name->known = true;
    name->unsent = true;
    log_write(LOG_LEVEL_INFO, "resolved", "name=%s addresses=%u", name->answer.text,
              name->answer.count);
}

static void done_one(struct name *name)
{
    if (--name->pending == 0 && name->wanted)
        finish(name);
}

static void note_ttl(struct name *name, int64_t ttl_s)
{
    int64_t ms = ttl_s * 1000;
    uint32_t bounded = ms < TTL_MIN_MS ? TTL_MIN_MS : ms > TTL_MAX_MS ? TTL_MAX_MS : (uint32_t)ms;
    if (bounded < name->ttl_ms)
        name->ttl_ms = bounded;
}

static void add_address(const struct lookup *lookup, const struct ares_addrinfo_node *node)
{
    struct names_answer *next = &lookup->name->next;
    struct addr addr = {.len = (uint32_t)node->ai_addrlen};
    bool fits = (node->ai_family == AF_INET && addr.len == sizeof(addr.u.in)) ||
                (node->ai_family == AF_INET6 && addr.len == sizeof(addr.u.in6));
    if (!fits || next->count == NAMES_ADDRESSES_MAX)
        return;
    memcpy(&addr.u, node->ai_addr, addr.len);
    if (node->ai_family == AF_INET)
        addr.u.in.sin_port = htons(lookup->port);
    else
        addr.u.in6.sin6_port = htons(lookup->port);
    lookup->name->priority[next->count] = lookup->priority;
    next->addresses[next->count++] =
        (struct names_address){.address = addr, .weight = lookup->weight};
    note_ttl(lookup->name, node->ai_ttl);
}

static void host_found(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct lookup *lookup = arg;
    struct name *name = lookup->name;
    (void)timeouts;
    for (const struct ares_addrinfo_node *node = found ? found->nodes : NULL; node;
         node = node->ai_next)
        add_address(lookup, node);
    /* A host that a record names and that does not exist is no server; all else is a failure. */
    bool nothing = status == ARES_ENOTFOUND || status == ARES_ENODATA;
    if (status != ARES_SUCCESS && !nothing)
        name->failed = true;
    if (found)
        ares_freeaddrinfo(found);
    free(lookup);
    done_one(name);
}

static void find_host(struct name *name, const char *host, struct lookup with)
{
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    struct lookup *lookup = malloc(sizeof(*lookup));
    if (!lookup) {
        name->failed = true;
        return;
    }
    *lookup = with;
    lookup->name = name;
    name->pending++;
    ares_getaddrinfo(name->owner->channel, host, NULL, &hints, host_found, lookup);
}

/* The least TTL of the answers in a DNS message; c-ares does not tell it for SRV. */
static void note_record_ttls(struct name *name, const unsigned char *message, int length)
{
    size_t end = length > NS_HFIXEDSZ ? (size_t)length : 0;
    uint32_t questions = end ? (uint32_t)message[4] << 8 | message[5] : 0;
    uint32_t answers = end ? (uint32_t)message[6] << 8 | message[7] : 0;
    size_t at = NS_HFIXEDSZ;
    for (uint32_t i = 0; i < questions + answers && at < end; i++) {
        char *ignored;
        long taken;
        if (ares_expand_name(message + at, message, length, &ignored, &taken) != ARES_SUCCESS)
            return;
        ares_free_string(ignored);
        at += (size_t)taken;
        if (i < questions) {
            at += NS_QFIXEDSZ;
            continue;
        }
        if (at + NS_RRFIXEDSZ > end)
            return;
        const unsigned char *record = message + at;
        note_ttl(name, (int64_t)record[4] << 24 | (int64_t)record[5] << 16 |
                           (int64_t)record[6] << 8 | record[7]);
        at += NS_RRFIXEDSZ + ((size_t)record[8] << 8 | record[9]);
    }
}

static void srv_found(void *arg, int status, int timeouts, unsigned char *message, int length)
{
    struct name *name = arg;
    struct ares_srv_reply *records = NULL;
    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = ares_parse_srv_reply(message, length, &records);
    if (status != ARES_SUCCESS)
        name->failed = true;
    else
        note_record_ttls(name, message, length);
    for (const struct ares_srv_reply *record = records; record; record = record->next) {
        if (record->priority < name->first)
            name->first = record->priority;
        if (record->port != 0 && record->host[0] != '\0') /* "." says: not here (RFC 2782) */
            find_host(name, record->host,
                      (struct lookup){.port = record->port,
                                      .weight = record->weight != 0 ? record->weight : 1,
                                      .priority = record->priority});
    }
    if (records)
        ares_free_data(records);
    done_one(name);
}

static void begin(struct name *name)
{
    name->next.count = 0;
    name->failed = false;
    name->ttl_ms = TTL_MAX_MS;
    name->first = name->what.srv ? UINT16_MAX : 0;
    name->pending = 1; /* ours: nothing is finished before all have begun */
    if (name->what.srv) {
        name->pending++;
        ares_query(name->owner->channel, name->what.host, ns_c_in, ns_t_srv, srv_found, name);
    } else {
        find_host(name, name->what.host, (struct lookup){.port = name->what.port});
    }
    done_one(name);
}

/* ---- the resolver's descriptors ---- */

static void watch(void *arg, ares_socket_t fd, int readable, int writable)
{
    const struct checker_names *names = arg;
    struct epoll_event event = {.data.u64 = CHECKER_NAMES_EVENT | (uint32_t)fd};
    event.events = (readable ? (uint32_t)EPOLLIN : 0u) | (writable ? (uint32_t)EPOLLOUT : 0u);
    if (event.events == 0)
        epoll_ctl(names->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(names->epoll, EPOLL_CTL_MOD, fd, &event) < 0)
        (void)epoll_ctl(names->epoll, EPOLL_CTL_ADD, fd, &event); /* else it times out */
}

void checker_names_event(struct checker_names *names, uint64_t data, uint32_t events)
{
    ares_socket_t fd = (ares_socket_t)(uint32_t)data;
    bool broken = events & (EPOLLERR | EPOLLHUP);
    if (names->channel_open)
        ares_process_fd(names->channel, events & EPOLLIN || broken ? fd : ARES_SOCKET_BAD,
                        events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
}

static void close_channel(struct checker_names *names)
{
    if (names->channel_open)
        ares_destroy(names->channel); /* lookups under way end as failures */
    names->channel_open = false;
}

/* c-ares would take "no descriptor" for "no resolv.conf", and ask 127.0.0.1 from then on. */
static bool can_open_files(void)
{
    int fd = open("/", O_PATH | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Returns a status of c-ares. */
static int open_channel(struct checker_names *names)
{
    if (!can_open_files())
        return ARES_EFILE;
    struct ares_options options = {.timeout = QUERY_TIMEOUT_MS,
                                   .tries = QUERY_TRIES,
                                   .sock_state_cb = watch,
                                   .sock_state_cb_data = names};
    int status = ares_init_options(&names->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    names->channel_open = status == ARES_SUCCESS;
    if (status == ARES_SUCCESS && names->resolver[0] != '\0')
        status = ares_set_servers_ports_csv(names->channel, names->resolver);
    if (status != ARES_SUCCESS)
        close_channel(names);
    return status;
}

/* Anew for each configuration: resolv.conf may have changed, too. It wants memory and a descriptor. */
static bool has_channel(struct checker_names *names, uint64_t now_ms)
{
    if (names->channel_open || now_ms < names->open_ms)
        return names->channel_open;
    int status = open_channel(names);
    names->open_ms = now_ms + AGAIN_FIRST_MS;
    if (status != ARES_SUCCESS && !names->told)
        log_write(LOG_LEVEL_ERROR, "resolver_failed", "error=\"%s\"", ares_strerror(status));
    names->told = status != ARES_SUCCESS;
    return names->channel_open;
}

/* ---- names ---- */

struct checker_names *checker_names_new(int epoll, int control)
{
    struct checker_names *names = calloc(1, sizeof(*names));
    if (!names || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        free(names);
        return NULL;
    }
    names->epoll = epoll;
    names->control = control;
    return names;
}

uint32_t checker_names_count(const struct checker_names *names)
{
    return names->count;
}

static struct name *find(const struct checker_names *names, struct slice text)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (slice_eq(slice_of(names->items[i]->answer.text), text))
            return names->items[i];
    }
    return NULL;
}

static int add(struct checker_names *names, struct slice text)
{
    struct name *name = calloc(1, sizeof(*name));
    struct name **more = realloc(names->items, (names->count + 1u) * sizeof(struct name *));
    if (more)
        names->items = more;
    if (!name || !more || text.n >= sizeof(name->answer.text) ||
        conf_name_parse(&name->what, text) < 0) {
        free(name);
        return -ENOMEM;
    }
    name->owner = names;
    name->wanted = true;
    name->answer.magic = NAMES_MAGIC;
    memcpy(name->answer.text, text.p, text.n);
    names->items[names->count++] = name;
    return 0;
}

static void drop_unwanted(struct checker_names *names)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < names->count; i++) {
        if (names->items[i]->wanted)
            names->items[kept++] = names->items[i];
        else
            free(names->items[i]);
    }
    names->count = kept;
}

static char *copy_text(struct slice text)
{
    char *copy = malloc(text.n + 1);
    if (copy)
        snprintf(copy, text.n + 1, "%.*s", (int)text.n, text.p);
    return copy;
}

int checker_names_use(struct checker_names *names, const struct image *image)
{
    int error = 0;
    char *resolver = copy_text(image_slice(image, image->header->front.resolver));
    if (!resolver)
        return -ENOMEM;
    free(names->resolver);
    names->resolver = resolver;
    for (uint32_t i = 0; i < names->count; i++)
        names->items[i]->wanted = false;
    close_channel(names); /* what it calls back finds nobody who wants it */
    names->open_ms = 0;
    for (uint32_t i = 0; i < image->header->names.count && !error; i++) {
        struct slice text = image_slice(image, image_name(image, i)->text);
        struct name *name = find(names, text);
        if (!name)
            error = add(names, text);
        else if (!name->wanted)
            name->due_ms = name->known ? name->due_ms : 0;
        if (name) {
            name->wanted = true;
            /* The master may have let go of it in a configuration that was never sent to us. */
            name->unsent = name->known;
        }
    }
    drop_unwanted(names);
    return error;
}

static void send_answer(struct checker_names *names, struct name *name)
{
    ssize_t n = send(names->control, &name->answer, sizeof(name->answer), MSG_NOSIGNAL);
    if (n == (ssize_t)sizeof(name->answer))
        name->unsent = false;
}

static uint64_t query_wait_ms(struct checker_names *names)
{
    struct timeval most = {.tv_sec = 1}, wait;
    const struct timeval *tv = ares_timeout(names->channel, &most, &wait);
    return (uint64_t)tv->tv_sec * 1000 + (uint64_t)tv->tv_usec / 1000 + 1;
}

int checker_names_run(struct checker_names *names)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t wait_ms = WAIT_MAX_MS;
    if (names->count == 0 || !has_channel(names, now_ms))
        return WAIT_MAX_MS;
    ares_process_fd(names->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what has timed out */
    for (uint32_t i = 0; i < names->count; i++) {
        struct name *name = names->items[i];
        if (name->pending == 0 && now_ms >= name->due_ms)
            begin(name);
        if (name->unsent)
            send_answer(names, name);
        if (name->pending == 0 && name->due_ms < now_ms + wait_ms)
            wait_ms = name->due_ms > now_ms ? name->due_ms - now_ms : 1;
    }
    uint64_t query_ms = query_wait_ms(names);
    return (int)(query_ms < wait_ms ? query_ms : wait_ms);
}
