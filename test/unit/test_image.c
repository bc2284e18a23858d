/* SPDX-License-Identifier: Apache-2.0 */
/* No bit of an image makes its reader leave it: the check finds it, or it does no harm. */
#define _GNU_SOURCE 1
#include "shm/image.h"

#include "shm/image_check.h"
#include "shm/image_fit.h"
#include "test/unit/cert_fixture.h"
#include "test/unit/conf_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct conf_fixture fixture;
static uint8_t *good; /* a good image */
static size_t size;
static uint8_t *theirs; /* one whose rows are not as long as ours: see make_theirs */
static size_t theirs_size;

static const char TEXT[] =
    "listeners = ( { address = \"127.0.0.1:81\"; }, { address = \"*:82\"; tls = true; } );\n"
    "certificates = ( { certificate = \"a.pem\"; key = \"a.key\"; },\n"
    "  { certificate = \"b.pem\"; key = \"b.key\"; } );\n"
    "tls = { client_certificate = \"optional\"; client_ca = \"a.pem\"; };\n"
    "hsts = \"max-age=1\"; close_reason = \"bye\"; max_age = \"1h\"; ping_interval = \"30s\";\n"
    "client_byte_rate = \"1k/s\";\n"
    "upstreams = ( { name = \"web\"; servers = ( { address = \"10.0.0.1\"; },\n"
    "    { address = \"unix:/run/s\"; } ); },\n"
    "  { name = \"chat\"; balance = \"hash\"; hash_key = \"$remote_addr:$arg_room\";\n"
    "    tls = true; tls_ca = \"b.pem\"; tls_certificate = \"a.pem\"; tls_key = \"a.key\";\n"
    "    source = [ \"10.9.9.9\", \"::9\" ]; servers = ( { address = \"[::1]:80\"; } ); } );\n"
    "sites = ( { hosts = [ \"b.example\", \"*.example\" ];\n"
    "    routes = ( { path = \"/\"; upstream = \"web\"; },\n"
    "      { path = \"/chat\"; upstream = \"chat\"; host_header = \"x.$host\"; } ); },\n"
    "  { hosts = [ \"a.example\", \"*\" ]; routes = ( { path = \"/\"; upstream = \"web\"; } ); },\n"
    "  { hosts = [ \"empty\" ]; } );\n";

static void setup(void)
{
    struct board_shape shape = {.tunnels_max = 1};
    struct board board;
    struct stat st;
    char name[64];
    int32_t owner;
    int fd;
    conf_fixture_init(&fixture);
    cert_fixture_put("a", &(struct recipe){.names = "DNS:a.example,DNS:*.example"});
    cert_fixture_put("b", &(struct recipe){.key = "ED25519", .names = "DNS:a.example,DNS:b"});
    snprintf(name, sizeof(name), "/holdfast-image-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0);
    struct conf *conf = conf_fixture_good(&fixture, TEXT);
    ck_assert_int_eq(conf_image_build(conf, &board, 1, &fd, stderr), 0);
    conf_free(&conf);
    board_fini(&board);
    ck_assert_int_eq(fstat(fd, &st), 0);
    size = (size_t)st.st_size;
    good = malloc(size);
    ck_assert_int_eq(pread(fd, good, size, 0), (ssize_t)size);
    close(fd);
}

static void teardown(void)
{
    free(good);
    free(theirs);
    theirs = NULL;
    unlink("a.pem");
    unlink("a.key");
    unlink("b.pem");
    unlink("b.key");
    conf_fixture_fini(&fixture);
}

/* Use every byte, so that a sanitizer sees what lies outside. */
static volatile uint32_t sum;
static void touch(struct slice slice)
{
    for (size_t i = 0; i < slice.n; i++)
        sum += (unsigned char)slice.p[i];
}

static void walk_parts(const struct image *image, struct image_array parts)
{
    for (uint32_t i = 0; i < parts.count; i++)
        touch(image_slice(image, image_part(image, parts, i)->text));
}

static void walk_address(const struct addr *addr)
{
    char out[ADDR_TEXT_MAX];
    addr_print(addr, out);
    touch((struct slice){(const char *)&addr->u, addr->len});
}

static void walk_upstreams(const struct image *image)
{
    for (uint32_t i = 0; i < image->header->upstreams.count; i++) {
        const struct image_upstream *upstream = image_upstream(image, i);
        touch(image_slice(image, upstream->name));
        walk_parts(image, upstream->hash_key);
        for (uint32_t j = 0; j < upstream->servers.count; j++) {
            const struct image_server *server = image_upstream_server(image, upstream, j);
            touch(image_slice(image, server->text));
            walk_address(&server->address);
            ck_assert_uint_lt(server->backend, BOARD_BACKENDS_MAX);
            ck_assert_uint_gt(server->weight, 0);
        }
        for (uint32_t j = 0; j < upstream->sources.count; j++)
            walk_address(image_upstream_source(image, upstream, j));
    }
}

static void walk_sites(const struct image *image)
{
    static const char *const hosts[] = {"b.example", "x.example", "empty", "nobody", "a.b.c"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        const struct image_site *site = image_find_site(image, slice_of(hosts[i]));
        const struct image_route *route =
            site ? image_find_route(image, site, SLICE("/chat/x"), NULL, NULL) : NULL;
        if (!site)
            continue;
        touch(image_slice(image, site->name));
        ck_assert_uint_lt(site->board_site, BOARD_SITES_MAX);
        if (!route)
            continue;
        touch(image_slice(image, route->path));
        walk_parts(image, route->host_header);
        touch(image_slice(image, image_upstream(image, route->upstream)->name));
    }
    for (uint32_t i = 0; i < image->header->sites.count; i++) {
        const struct image_site *site = image_site(image, i);
        touch(image_slice(image, site->name));
        /* A path that nothing matches: all routes are looked at. */
        ck_assert_ptr_null(image_find_route(image, site, SLICE(""), NULL, NULL));
    }
    for (uint32_t i = 0; i < image->header->routes.count; i++) {
        touch(image_slice(image, image_route(image, i)->path));
        touch(image_slice(image, image_route(image, i)->close_reason));
        walk_parts(image, image_route(image, i)->host_header);
        touch(image_slice(image, image_upstream(image, image_route(image, i)->upstream)->name));
    }
}

static void walk_choices(const struct image *image, struct image_array choices)
{
    ck_assert(choices.count > 0 || image->header->certificates.count == 0);
    for (uint32_t i = 0; i < choices.count; i++) {
        const struct image_certificate *one =
            image_certificate(image, image_choice(image, choices, i));
        touch(image_slice(image, one->chain));
        touch(image_slice(image, one->staple));
    }
}

static void walk_tls(const struct image *image)
{
    static const char *const names[] = {"a.example", "x.example", "a.b.example", "b",
                                        "",          ".",         ".example"};
    const struct image_tls *tls = &image->header->tls;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        walk_choices(image, image_find_certificates(image, slice_of(names[i])));
    for (uint32_t i = 0; i < image->header->certificates.count; i++)
        touch(image_slice(image, image_certificate(image, i)->chain));
    touch(image_slice(image, tls->ciphers));
    touch(image_slice(image, tls->suites));
    touch(image_slice(image, tls->groups));
    touch(image_slice(image, tls->client_ca));
    for (uint32_t i = 0; i < image->header->routes.count; i++)
        touch(image_slice(image, image_route(image, i)->hsts));
    for (uint32_t i = 0; i < image->header->servers.count; i++)
        touch(image_slice(image, image_server(image, i)->tls_name));
    for (uint32_t i = 0; i < image->header->upstreams.count; i++) {
        touch(image_slice(image, image_upstream(image, i)->tls_chain));
        touch(image_slice(image, image_upstream(image, i)->tls_ca));
    }
}

static void walk(const struct image *image)
{
    for (uint32_t i = 0; i < image->header->listeners.count; i++) {
        touch(image_slice(image, image_listener(image, i)->text));
        walk_address(&image_listener(image, i)->address);
    }
    for (uint32_t i = 0; i < image->header->servers.count; i++)
        touch(image_slice(image, image_server(image, i)->text));
    walk_upstreams(image);
    walk_sites(image);
    walk_tls(image);
}

/* Bytes on the heap, exactly as long as the image: what is beyond them is poisoned under ASan. */
static int check_and_walk(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n + (n == 0));
    memcpy(exact, bytes, n);
    const struct image_header *header = (const struct image_header *)(const void *)exact;
    int rc = image_check(header, n);
    if (rc == 0) {
        struct image image = {.header = header, .size = n, .references = 1};
        walk(&image);
    }
    free(exact);
    return rc;
}

static int memfd_of(const uint8_t *bytes, size_t n, unsigned seals)
{
    int fd = memfd_create("test-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int open_and_walk(const uint8_t *bytes, size_t n)
{
    struct image *image;
    int fd = memfd_of(bytes, n, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
    int rc = image_open(&image, fd);
    close(fd);
    if (rc == 0)
        walk(image);
    else
        ck_assert_ptr_null(image);
    image_release(&image);
    return rc;
}

START_TEST(the_good_image_is_good)
{
    ck_assert_int_eq(check_and_walk(good, size), 0);
    ck_assert_int_eq(open_and_walk(good, size), 0);
}
END_TEST

START_TEST(no_flipped_bit_makes_a_reader_leave_the_image)
{
    uint32_t refused = 0;
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            good[i] ^= (uint8_t)(1u << bit);
            refused += check_and_walk(good, size) < 0;
            good[i] ^= (uint8_t)(1u << bit);
        }
    }
    /* Most of an image is numbers that may have any value; but many bits must not be lost. */
    ck_assert_uint_gt(refused, size / 2);
}
END_TEST

START_TEST(no_byte_value_makes_a_reader_leave_the_image)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < size; i++) {
        uint8_t was = good[i];
        for (size_t j = 0; j < sizeof(values); j++) {
            good[i] = values[j];
            check_and_walk(good, size);
        }
        good[i] = (uint8_t)~was;
        open_and_walk(good, size);
        good[i] = was;
    }
}
END_TEST

START_TEST(no_number_in_any_place_makes_a_reader_leave_the_image)
{
    uint32_t values[] = {0,          1,          (uint32_t)size - 1, (uint32_t)size,
                         0x7fffffff, 0x80000000, 0xffffffff,         (uint32_t)size + 1};
    for (size_t i = 0; i + 4 <= size; i += 4) {
        uint32_t was;
        memcpy(&was, good + i, 4);
        for (size_t j = 0; j < ARRAY_LEN(values); j++) {
            memcpy(good + i, &values[j], 4);
            check_and_walk(good, size);
        }
        memcpy(good + i, &was, 4);
    }
}
END_TEST

START_TEST(noise_in_several_places_makes_no_reader_leave_the_image)
{
    uint64_t random = 20;
    uint8_t *bytes = malloc(size);
    for (int round = 0; round < 20000; round++) {
        memcpy(bytes, good, size);
        for (int i = 0; i < 3; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[(random >> 33) % size] = (uint8_t)(random >> 24);
        }
        check_and_walk(bytes, size);
    }
    free(bytes);
}
END_TEST

START_TEST(an_image_of_any_other_length_is_refused)
{
    for (size_t n = 0; n < size; n++)
        ck_assert_int_lt(check_and_walk(good, n), 0);
    uint8_t *longer = calloc(1, size + 8);
    memcpy(longer, good, size);
    ck_assert_int_eq(check_and_walk(longer, size + 8), -EBADMSG);
    ck_assert_int_eq(open_and_walk(good, 0), -EPROTO);
    ck_assert_int_eq(open_and_walk(good, size - 1), -EBADMSG);
    free(longer);
}
END_TEST

/* A changed header, refused with this error. */
static void header_refused(struct image_header changed, int error)
{
    struct image_header was;
    memcpy(&was, good, sizeof(was));
    memcpy(good, &changed, sizeof(changed));
    ck_assert_int_eq(check_and_walk(good, size), error);
    memcpy(good, &was, sizeof(was));
}

START_TEST(each_trouble_has_its_error)
{
    struct image_header header, changed;
    memcpy(&header, good, sizeof(header));
    changed = header;
    changed.magic++;
    header_refused(changed, -EPROTO);
    changed = header;
    changed.version++;
    header_refused(changed, -EPROTONOSUPPORT);
    changed = header;
    changed.size--;
    header_refused(changed, -EBADMSG);
    changed = header;
    changed.default_site = header.sites.count;
    header_refused(changed, -EBADMSG);
    changed = header;
    changed.routes.count = 0;
    header_refused(changed, -EBADMSG);
    changed = header;
    changed.servers.off = 0; /* inside the header */
    header_refused(changed, -EBADMSG);
    changed = header;
    changed.sites.off += 4; /* not aligned */
    header_refused(changed, -EBADMSG);
}
END_TEST

START_TEST(an_array_behind_the_end_is_refused_before_it_is_read)
{
    size_t longer = (size + 7) & ~(size_t)7;
    uint8_t *bytes = calloc(1, longer);
    struct image_header header;
    memcpy(bytes, good, size);
    memcpy(&header, good, sizeof(header));
    header.size = longer;
    memcpy(bytes, &header, sizeof(header));
    ck_assert_int_eq(check_and_walk(bytes, longer), 0);
    for (uint32_t count = 0; count <= 1; count++) {
        header.listeners = (struct image_array){(uint32_t)longer, count};
        memcpy(bytes, &header, sizeof(header));
        ck_assert_int_eq(check_and_walk(bytes, longer), count > 0 ? -EBADMSG : 0);
    }
    free(bytes);
}
END_TEST

START_TEST(hosts_out_of_order_are_refused)
{
    struct image_header header;
    struct image_host hosts[2];
    memcpy(&header, good, sizeof(header));
    ck_assert_uint_ge(header.hosts.count, 2);
    memcpy(hosts, good + header.hosts.off, sizeof(hosts));
    memcpy(good + header.hosts.off, &hosts[1], sizeof(hosts[1]));
    ck_assert_int_eq(check_and_walk(good, size), -EBADMSG); /* the same twice */
    memcpy(good + header.hosts.off + sizeof(hosts[0]), &hosts[0], sizeof(hosts[0]));
    ck_assert_int_eq(check_and_walk(good, size), -EBADMSG);
}
END_TEST

/* The first route, changed, is refused. */
static void route_refused(struct image_route changed)
{
    struct image_header header;
    struct image_route was;
    memcpy(&header, good, sizeof(header));
    memcpy(&was, good + header.routes.off, sizeof(was));
    memcpy(good + header.routes.off, &changed, sizeof(changed));
    ck_assert_int_eq(check_and_walk(good, size), -EBADMSG);
    memcpy(good + header.routes.off, &was, sizeof(was));
    ck_assert_int_eq(check_and_walk(good, size), 0);
}

START_TEST(what_tunnels_could_not_go_by_is_refused)
{
    static const uint32_t codes[] = {1, 1000, 1002, 1005, 1006, 1015, 2999, 5000, 65536 + 1001};
    struct image_header header;
    struct image_route route, changed;
    memcpy(&header, good, sizeof(header));
    memcpy(&route, good + header.routes.off, sizeof(route));
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        changed = route;
        changed.close_code = codes[i];
        route_refused(changed);
    }
    changed = route;
    changed.close_reason = (struct image_str){header.strings.off, CLOSE_REASON_MAX + 1};
    route_refused(changed);
    changed = route;
    changed.close_reason.off = (uint32_t)size - 1;
    route_refused(changed);
    changed = route;
    changed.max_age_spread_ms = route.max_age_ms + 1;
    route_refused(changed);
    changed = route;
    changed.ping_timeout_ms = 0;
    route_refused(changed);
    changed = route;
    changed.ping_interval_ms = 0x80000000;
    route_refused(changed);
    changed = route;
    changed.close_timeout_ms = 0x80000000;
    route_refused(changed);
    changed = route;
    changed.max_age_ms = 0x80000000;
    route_refused(changed);
    changed = route;
    changed.limits.rates[0][RATE_BYTES].burst = 0; /* nothing would ever pass */
    route_refused(changed);
    changed = route;
    changed.limits.rates[1][RATE_CONTROL].burst = 1;
    route_refused(changed);
}
END_TEST

START_TEST(what_could_change_behind_the_check_is_refused)
{
    struct image *image;
    static const unsigned seals[] = {0, F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_SHRINK,
                                     F_SEAL_GROW | F_SEAL_SHRINK};
    for (size_t i = 0; i < ARRAY_LEN(seals); i++) {
        int fd = memfd_of(good, size, seals[i]);
        ck_assert_int_eq(image_open(&image, fd), -EPROTO);
        close(fd);
    }
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_int_eq(image_open(&image, pipes[0]), -EPROTO);
    close(pipes[0]);
    close(pipes[1]);
    ck_assert_int_eq(image_open(&image, -1), -EBADF);
    ck_assert_ptr_null(image);
}
END_TEST

/* ---- images of programs whose rows are not as long as ours ---- */

/* The image in the making; what a longer row has behind ours is filled with ones. */

static void resize_rows(enum image_kind kind, size_t array_at, int change)
{
    struct image_header header;
    struct image_array array;
    memcpy(&header, theirs, sizeof(header));
    memcpy(&array, theirs + array_at, sizeof(array));
    size_t ours = header.row_size[kind], row = (size_t)((int)ours + change);
    size_t at = (theirs_size + 7) & ~(size_t)7;
    theirs_size = at + array.count * row;
    theirs = realloc(theirs, theirs_size);
    memset(theirs + at, 0xff, array.count * row);
    for (uint32_t i = 0; i < array.count; i++)
        memcpy(theirs + at + i * row, theirs + array.off + i * ours, ours < row ? ours : row);
    header.row_size[kind] = (uint16_t)row;
    header.size = theirs_size;
    memcpy(theirs, &header, sizeof(header));
    array.off = (uint32_t)at;
    memcpy(theirs + array_at, &array, sizeof(array));
}

static void move_run(size_t field, struct image_array was, struct image_array now, int change,
                     size_t ours)
{
    struct image_array run;
    memcpy(&run, theirs + field, sizeof(run));
    run.off = now.off + (run.off - was.off) / (uint32_t)ours * (uint32_t)((int)ours + change);
    memcpy(theirs + field, &run, sizeof(run));
}

/* As by a program whose rows of every kind are so much longer (or, these three, shorter) than ours. */
static void make_theirs(int change)
{
    int all = change < 0 ? 0 : change;
    theirs = realloc(theirs, size);
    theirs_size = size;
    memcpy(theirs, good, size);
    struct image_header was, now;
    memcpy(&was, good, sizeof(was));
    /* Shorter by two fields: the last of ours is 0 in most listeners anyway. */
    resize_rows(IMAGE_LISTENERS, offsetof(struct image_header, listeners),
                change < 0 ? 2 * change : change);
    resize_rows(IMAGE_HOSTS, offsetof(struct image_header, hosts), all);
    resize_rows(IMAGE_SITES, offsetof(struct image_header, sites), all);
    resize_rows(IMAGE_ROUTES, offsetof(struct image_header, routes), change);
    resize_rows(IMAGE_UPSTREAMS, offsetof(struct image_header, upstreams), all);
    resize_rows(IMAGE_SERVERS, offsetof(struct image_header, servers), change);
    resize_rows(IMAGE_PARTS, offsetof(struct image_header, parts), all);
    resize_rows(IMAGE_SOURCES, offsetof(struct image_header, sources), all);
    memcpy(&now, theirs, sizeof(now));
    for (uint32_t i = 0; i < now.sites.count; i++)
        move_run(now.sites.off + i * now.row_size[IMAGE_SITES] +
                     offsetof(struct image_site, routes),
                 was.routes, now.routes, change, sizeof(struct image_route));
    for (uint32_t i = 0; i < now.routes.count; i++)
        move_run(now.routes.off + i * now.row_size[IMAGE_ROUTES] +
                     offsetof(struct image_route, host_header),
                 was.parts, now.parts, all, sizeof(struct image_part));
    for (uint32_t i = 0; i < now.routes.count; i++)
        move_run(now.routes.off + i * now.row_size[IMAGE_ROUTES] +
                     offsetof(struct image_route, client_key),
                 was.parts, now.parts, all, sizeof(struct image_part));
    for (uint32_t i = 0; i < now.upstreams.count; i++) {
        size_t row = now.upstreams.off + i * now.row_size[IMAGE_UPSTREAMS];
        move_run(row + offsetof(struct image_upstream, servers), was.servers, now.servers, change,
                 sizeof(struct image_server));
        move_run(row + offsetof(struct image_upstream, hash_key), was.parts, now.parts, all,
                 sizeof(struct image_part));
        move_run(row + offsetof(struct image_upstream, sources), was.sources, now.sources, all,
                 sizeof(struct addr));
    }
}

static struct image *open_bytes(const uint8_t *bytes, size_t n)
{
    struct image *image;
    int fd = memfd_of(bytes, n, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
    ck_assert_int_eq(image_open(&image, fd), 0);
    close(fd);
    return image;
}

static void assert_same_text(const struct image *a, struct image_str x, const struct image *b,
                             struct image_str y)
{
    struct slice p = image_slice(a, x), q = image_slice(b, y);
    ck_assert_uint_eq(p.n, q.n);
    ck_assert_mem_eq(p.p, q.p, p.n);
}

/* All that a request would find: hosts, routes, servers, parts and sources of both are the same. */
static void assert_same(const struct image *a, const struct image *b)
{
    const struct image_site *site = image_find_site(a, SLICE("x.example"));
    const struct image_site *same = image_find_site(b, SLICE("x.example"));
    assert_same_text(a, site->name, b, same->name);
    ck_assert_uint_eq(site->routes.count, 2);
    const struct image_route *route = image_find_route(a, site, SLICE("/chat/x"), NULL, NULL);
    const struct image_route *twin = image_find_route(b, same, SLICE("/chat/x"), NULL, NULL);
    ck_assert_uint_eq(twin->idle_timeout_ms, route->idle_timeout_ms);
    ck_assert_uint_eq(twin->host_header.count, 2);
    assert_same_text(a, image_part(a, route->host_header, 0)->text, b,
                     image_part(b, twin->host_header, 0)->text);
    for (uint32_t i = 0; i < a->header->upstreams.count; i++) {
        const struct image_upstream *x = image_upstream(a, i), *y = image_upstream(b, i);
        assert_same_text(a, x->name, b, y->name);
        ck_assert_uint_eq(x->servers.count, y->servers.count);
        for (uint32_t j = 0; j < x->servers.count; j++)
            assert_same_text(a, image_upstream_server(a, x, j)->text, b,
                             image_upstream_server(b, y, j)->text);
        ck_assert_uint_eq(x->hash_key.count, y->hash_key.count);
        ck_assert_uint_eq(x->sources.count, y->sources.count);
        for (uint32_t j = 0; j < x->sources.count; j++)
            ck_assert_mem_eq(image_upstream_source(a, x, j), image_upstream_source(b, y, j),
                             sizeof(struct addr));
    }
    ck_assert_mem_eq(&a->header->front, &b->header->front, sizeof(struct image_front));
}

START_TEST(an_image_with_longer_rows_is_read_as_far_as_we_know_them)
{
    make_theirs(8);
    struct image *image = open_bytes(theirs, theirs_size), *ours = open_bytes(good, size);
    assert_same(ours, image);
    walk(image);
    ck_assert_uint_eq(image_listener(image, 1)->backlog, image_listener(ours, 1)->backlog);
    image_release(&image);
    image_release(&ours);
}
END_TEST

START_TEST(an_image_with_shorter_rows_has_zero_in_what_it_does_not_say)
{
    make_theirs(-8);
    struct image *image = open_bytes(theirs, theirs_size), *ours = open_bytes(good, size);
    assert_same(ours, image);
    walk(image);
    ck_assert_uint_ne(image_listener(ours, 1)->backlog, 0);
    ck_assert_uint_eq(image_listener(image, 1)->backlog, 0);
    image_release(&image);
    image_release(&ours);
}
END_TEST

/* As by a program that does not know the last kinds of rows: the header says nothing of them. */
START_TEST(a_kind_of_rows_that_is_not_known_has_none)
{
    struct image_header header;
    memcpy(&header, good, sizeof(header));
    struct image_array none = {0};
    header.sources = none;
    header.row_size[IMAGE_SOURCES] = 0;
    for (uint32_t i = 0; i < header.upstreams.count; i++)
        memcpy(good + header.upstreams.off + i * sizeof(struct image_upstream) +
                   offsetof(struct image_upstream, sources),
               &none, sizeof(none));
    memcpy(good, &header, sizeof(header));
    struct image *image = open_bytes(good, size);
    for (uint32_t i = 0; i < header.upstreams.count; i++)
        ck_assert_uint_eq(image_upstream(image, i)->sources.count, 0);
    walk(image);
    image_release(&image);
}
END_TEST

START_TEST(no_damage_to_an_image_of_other_rows_makes_its_reader_leave_it)
{
    uint64_t random = 21;
    uint32_t refused = 0;
    make_theirs(8);
    uint8_t *bytes = malloc(theirs_size);
    for (int round = 0; round < 30000; round++) {
        struct image image = {.references = 1};
        struct image_header *fit = NULL;
        memcpy(bytes, theirs, theirs_size);
        for (int i = 0; i < 2; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t n = random >> 63 ? theirs_size : sizeof(struct image_header);
            bytes[(random >> 33) % n] = (uint8_t)(random >> 24);
        }
        struct image_header *damaged = (struct image_header *)(void *)bytes;
        int rc = image_fit(damaged, theirs_size, &fit, &image.size);
        image.header = fit;
        if (rc == 0 && image_check(fit, image.size) == 0)
            walk(&image);
        else
            refused++;
        if (rc == 0)
            munmap(fit, image.size);
    }
    ck_assert_uint_gt(refused, 3000);
    free(bytes);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("image");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_set_timeout(all, 120);
    tcase_add_test(all, the_good_image_is_good);
    tcase_add_test(all, no_flipped_bit_makes_a_reader_leave_the_image);
    tcase_add_test(all, no_byte_value_makes_a_reader_leave_the_image);
    tcase_add_test(all, no_number_in_any_place_makes_a_reader_leave_the_image);
    tcase_add_test(all, noise_in_several_places_makes_no_reader_leave_the_image);
    tcase_add_test(all, an_image_of_any_other_length_is_refused);
    tcase_add_test(all, each_trouble_has_its_error);
    tcase_add_test(all, an_array_behind_the_end_is_refused_before_it_is_read);
    tcase_add_test(all, hosts_out_of_order_are_refused);
    tcase_add_test(all, what_tunnels_could_not_go_by_is_refused);
    tcase_add_test(all, what_could_change_behind_the_check_is_refused);
    tcase_add_test(all, an_image_with_longer_rows_is_read_as_far_as_we_know_them);
    tcase_add_test(all, an_image_with_shorter_rows_has_zero_in_what_it_does_not_say);
    tcase_add_test(all, a_kind_of_rows_that_is_not_known_has_none);
    tcase_add_test(all, no_damage_to_an_image_of_other_rows_makes_its_reader_leave_it);
    Suite *suite = suite_create("image");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
