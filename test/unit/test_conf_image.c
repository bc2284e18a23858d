/* SPDX-License-Identifier: Apache-2.0 */
/* From struct conf to a sealed image, places on the board and rings. */
#define _GNU_SOURCE 1
#include "shm/ring.h"
#include "test/unit/conf_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct conf_fixture fixture;
static struct board board;

static void setup(void)
{
    struct board_shape shape = {.tunnels_max = 16};
    char name[64];
    int32_t owner;
    conf_fixture_init(&fixture);
    snprintf(name, sizeof(name), "/holdfast-conf-image-%d", (int)getpid());
    ck_assert_int_eq(board_create(&board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0); /* now, so that a test that fails leaves nothing */
}

static void teardown(void)
{
    board_fini(&board);
    conf_fixture_fini(&fixture);
}

static int try_build(const char *text, uint32_t generation, int *fd)
{
    struct conf *conf = conf_fixture_good(&fixture, text);
    FILE *errors = fmemopen(fixture.messages, sizeof(fixture.messages) - 1, "w");
    int rc = conf_image_build(conf, &board, generation, fd, errors);
    fclose(errors);
    conf_free(&conf);
    return rc;
}

static struct image *build(const char *text, uint32_t generation)
{
    struct image *image;
    int fd;
    int rc = try_build(text, generation, &fd);
    ck_assert_msg(rc == 0, "%d: %s", rc, fixture.messages);
    ck_assert_int_eq(image_open(&image, fd), 0);
    ck_assert_int_eq(close(fd), 0);
    return image;
}

static void str_is(const struct image *image, struct image_str str, const char *text)
{
    struct slice slice = image_slice(image, str);
    ck_assert_msg(slice_eq(slice, slice_of(text)), "%.*s is not %s", (int)slice.n, slice.p, text);
}

static const char TEXT[] =
    "workers = 2; max_line = \"1k\"; max_head = \"2k\"; max_headers = 50;\n"
    "header_timeout = \"3s\"; keepalive_timeout = \"5s\";\n"
    "error_log = { level = \"warn\"; };\n"
    "access_log = { path = \"stderr\"; format = \"combined\"; };\n"
    "idle_timeout = \"7s\"; max_body = \"3\"; connect_timeout = \"1s\"; send_timeout = \"2s\";\n"
    "response_timeout = \"3s\"; body_timeout = \"4s\"; host_header = \"$proxy_host\";\n"
    "x_forwarded_for = \"replace\"; x_forwarded_proto = \"keep\";\n"
    "x_forwarded_host = \"pass\"; x_real_ip = \"remove\"; upgrade = false;\n"
    "listeners = ( { address = \"127.0.0.1:81\"; }, { address = \"*:82\"; backlog = 9; } );\n"
    "upstreams = (\n"
    "  { name = \"web\"; servers = ( { address = \"10.0.0.1\"; } ); },\n"
    "  { name = \"chat\"; balance = \"hash\"; hash_key = \"$remote_addr:$arg_room\";\n"
    "    keepalive = 3; tries = 2; source = [ \"10.9.9.9\", \"::9\" ];\n"
    "    servers = ( { address = \"10.0.0.1:80\"; weight = 2; },\n"
    "      { address = \"unix:/run/s\"; down = true; } ); },\n"
    "  { name = \"least\"; balance = \"least_conn\"; servers = ( { address = \"10.0.0.3\"; } ); }\n"
    ");\n"
    "sites = (\n"
    "  { hosts = [ \"b.example\", \"*.example\", \"[::1]\" ]; idle_timeout = \"8s\";\n"
    "    routes = ( { path = \"/\"; upstream = \"web\"; },\n"
    "      { path = \"/chat/room\"; upstream = \"chat\"; idle_timeout = \"9s\"; upgrade = true;\n"
    "        host_header = \"x.${host}:1\"; x_real_ip = \"keep\"; },\n"
    "      { path = \"/chat\"; upstream = \"least\"; } ); },\n"
    "  { hosts = [ \"*.deep.example\", \"a.example\" ];\n"
    "    routes = ( { path = \"/only\"; upstream = \"web\"; } ); },\n"
    "  { hosts = [ \"a.b.example\", \"*\" ]; max_body = \"0\";\n"
    "    routes = ( { path = \"/\"; upstream = \"web\"; } ); }\n"
    ");\n";

START_TEST(the_image_holds_what_every_request_needs)
{
    struct image *image = build(TEXT, 5);
    const struct image_header *header = image->header;
    ck_assert_uint_eq(header->generation, 5);
    ck_assert_uint_eq(header->front.head.line_max, 1024);
    ck_assert_uint_eq(header->front.head.head_max, 2048);
    ck_assert_uint_eq(header->front.head.fields_max, 50);
    ck_assert_uint_eq(header->front.header_timeout_ms, 3000);
    ck_assert_uint_eq(header->front.keepalive_timeout_ms, 5000);
    ck_assert_uint_eq(header->front.access_log_format, ACCESS_LOG_COMBINED);
    ck_assert_uint_eq(header->front.log_level, LOG_LEVEL_WARN);
    ck_assert_uint_eq(header->listeners.count, 2);
    str_is(image, image_listener(image, 0)->text, "127.0.0.1:81");
    ck_assert_uint_eq(image_listener(image, 0)->backlog, 4096);
    ck_assert_uint_eq(image_listener(image, 1)->backlog, 9);
    ck_assert_uint_eq(addr_port(&image_listener(image, 1)->address), 82);
    ck_assert_uint_eq(image_listener(image, 1)->flags, 0);
    image_release(&image);
    ck_assert_ptr_null(image);
}
END_TEST

START_TEST(upstreams_stand_in_the_image_in_the_order_of_the_file)
{
    struct image *image = build(TEXT, 1);
    ck_assert_uint_eq(image->header->upstreams.count, 3);
    const struct image_upstream *web = image_upstream(image, 0);
    const struct image_upstream *chat = image_upstream(image, 1);
    str_is(image, web->name, "web");
    ck_assert_uint_eq(web->policy, BALANCE_ROUND_ROBIN);
    ck_assert_uint_eq(web->hash_key.count, 0);
    ck_assert_uint_eq(web->sources.count, 0);
    ck_assert_uint_eq(web->keepalive, 16);
    ck_assert_uint_eq(web->tries, 0);
    str_is(image, image_upstream_server(image, web, 0)->text, "10.0.0.1");
    ck_assert_uint_eq(addr_port(&image_upstream_server(image, web, 0)->address), 80);
    str_is(image, chat->name, "chat");
    ck_assert_uint_eq(chat->policy, BALANCE_HASH);
    ck_assert_uint_eq(chat->keepalive, 3);
    ck_assert_uint_eq(chat->tries, 2);
    ck_assert_uint_eq(chat->servers.count, 2);
    const struct image_server *first = image_upstream_server(image, chat, 0);
    const struct image_server *second = image_upstream_server(image, chat, 1);
    str_is(image, first->text, "10.0.0.1:80");
    ck_assert_uint_eq(first->weight, 2);
    ck_assert_uint_eq(first->flags, 0);
    str_is(image, second->text, "unix:/run/s");
    ck_assert_uint_eq(second->flags, BACKEND_DOWN);
    ck_assert_int_eq(second->address.u.sa.sa_family, AF_UNIX);
    ck_assert_uint_eq(chat->sources.count, 2);
    char out[ADDR_TEXT_MAX];
    addr_print(image_upstream_source(image, chat, 1), out);
    ck_assert_str_eq(out, "[::9]:0");
    ck_assert_uint_eq(chat->hash_key.count, 3);
    ck_assert_uint_eq(image_part(image, chat->hash_key, 0)->var, VAR_REMOTE_ADDR);
    ck_assert_uint_eq(image_part(image, chat->hash_key, 1)->var, VAR_TEXT);
    str_is(image, image_part(image, chat->hash_key, 1)->text, ":");
    ck_assert_uint_eq(image_part(image, chat->hash_key, 2)->var, VAR_ARG);
    str_is(image, image_part(image, chat->hash_key, 2)->text, "room");
    ck_assert_uint_eq(image_upstream(image, 2)->policy, BALANCE_LEAST_CONN);
    image_release(&image);
}
END_TEST

/* The site of a host by its first name; "" for none. */
static void site_is(const struct image *image, const char *host, const char *name)
{
    const struct image_site *site = image_find_site(image, slice_of(host));
    if (name[0] == '\0') {
        ck_assert_msg(site == NULL, "%s", host);
        return;
    }
    ck_assert_msg(site != NULL, "%s", host);
    str_is(image, site->name, name);
}

START_TEST(a_host_finds_its_site_exactly_then_by_wildcard_then_by_default)
{
    static const char *const rows[][2] = {
        {"b.example", "b.example"},
        {"a.example", "*.deep.example"},
        {"a.b.example", "a.b.example"},
        {"c.example", "b.example"},
        {"x.y.example", "b.example"},
        {"x.deep.example", "*.deep.example"},
        {"x.y.deep.example", "*.deep.example"},
        {"deep.example", "b.example"},
        {"[::1]", "b.example"},
        {"example", "a.b.example"},
        {".example", "a.b.example"},
        {"xexample", "a.b.example"},
        {"b.example.", "a.b.example"},
        {"", "a.b.example"},
        {".", "a.b.example"},
        {"..example", "b.example"},
        {"B.example", "b.example"},
    };
    struct image *image = build(TEXT, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        site_is(image, rows[i][0], rows[i][1]);
    image_release(&image);
}
END_TEST

START_TEST(without_a_default_site_an_unknown_host_finds_none)
{
    struct image *image = build("listeners = ( { address = \"80\"; } );\n"
                                "sites = ( { hosts = [ \"a\", \"*.b\" ]; } );",
                                1);
    site_is(image, "a", "a");
    site_is(image, "x.b", "a");
    site_is(image, "b", "");
    site_is(image, "c", "");
    const struct image_site *site = image_find_site(image, SLICE("a"));
    ck_assert_ptr_null(image_find_route(image, site, SLICE("/"), NULL, NULL));
    image_release(&image);
}
END_TEST

START_TEST(many_hosts_are_all_found)
{
    char text[32768] = "listeners = ( { address = \"80\"; } ); sites = (";
    for (int i = 0; i < 300; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%s{ hosts = [ \"h%d.x\", \"*.w%d.x\" ]; }",
                 i > 0 ? ",\n" : "", i * 7919 % 300, i * 7919 % 300);
    }
    strcat(text, ");");
    struct image *image = build(text, 1);
    for (int i = 0; i < 300; i++) {
        char host[32], name[32];
        snprintf(name, sizeof(name), "h%d.x", i);
        site_is(image, name, name);
        snprintf(host, sizeof(host), "a.w%d.x", i);
        site_is(image, host, name);
    }
    image_release(&image);
}
END_TEST

START_TEST(the_route_with_the_longest_path_is_found)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"/cha", "/"},
        {"/chat", "/chat"},
        {"/chats", "/chat"},
        {"/chat/roo", "/chat"},
        {"/chat/room", "/chat/room"},
        {"/CHAT", "/"},
        {"/chat/room/1", "/chat/room"},
    };
    struct image *image = build(TEXT, 1);
    const struct image_site *site = image_find_site(image, SLICE("b.example"));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct image_route *route =
            image_find_route(image, site, slice_of(rows[i][0]), NULL, NULL);
        ck_assert_ptr_nonnull(route);
        str_is(image, route->path, rows[i][1]);
    }
    ck_assert_ptr_null(image_find_route(image, site, SLICE("*"), NULL, NULL));
    ck_assert_ptr_null(image_find_route(image, site, SLICE(""), NULL, NULL));
    const struct image_site *other = image_find_site(image, SLICE("a.example"));
    ck_assert_ptr_null(image_find_route(image, other, SLICE("/"), NULL, NULL));
    ck_assert_ptr_nonnull(image_find_route(image, other, SLICE("/only/x"), NULL, NULL));
    image_release(&image);
}
END_TEST

static const struct image_route *route_of(const struct image *image, const char *host,
                                          const char *path)
{
    const struct image_site *site = image_find_site(image, slice_of(host));
    return image_find_route(image, site, slice_of(path), NULL, NULL);
}

START_TEST(every_inherited_value_stands_in_the_route)
{
    struct image *image = build(TEXT, 1);
    const struct image_route *plain = route_of(image, "b.example", "/");
    ck_assert_uint_eq(plain->upstream, 0);
    ck_assert_uint_eq(plain->flags, 0);
    ck_assert_uint_eq(plain->connect_timeout_ms, 1000);
    ck_assert_uint_eq(plain->send_timeout_ms, 2000);
    ck_assert_uint_eq(plain->response_timeout_ms, 3000);
    ck_assert_uint_eq(plain->body_timeout_ms, 4000);
    ck_assert_uint_eq(plain->idle_timeout_ms, 8000);
    ck_assert_uint_eq(plain->max_body, 3);
    ck_assert_uint_eq(plain->host_header.count, 1);
    ck_assert_uint_eq(image_part(image, plain->host_header, 0)->var, VAR_BACKEND);
    ck_assert_uint_eq(plain->x_forwarded_for, FORWARD_REPLACE);
    ck_assert_uint_eq(plain->x_forwarded_proto, FORWARD_KEEP);
    ck_assert_uint_eq(plain->x_forwarded_host, FORWARD_PASS);
    ck_assert_uint_eq(plain->x_real_ip, FORWARD_REMOVE);
    const struct image_route *special = route_of(image, "b.example", "/chat/room");
    ck_assert_uint_eq(special->upstream, 1);
    ck_assert_uint_eq(special->flags, ROUTE_UPGRADE);
    ck_assert_uint_eq(special->idle_timeout_ms, 9000);
    ck_assert_uint_eq(special->connect_timeout_ms, 1000);
    ck_assert_uint_eq(special->x_real_ip, FORWARD_KEEP);
    ck_assert_uint_eq(special->host_header.count, 3);
    str_is(image, image_part(image, special->host_header, 0)->text, "x.");
    ck_assert_uint_eq(image_part(image, special->host_header, 1)->var, VAR_HOST);
    str_is(image, image_part(image, special->host_header, 2)->text, ":1");
    ck_assert_uint_eq(route_of(image, "b.example", "/chat")->upstream, 2);
    ck_assert_uint_eq(route_of(image, "nobody", "/")->max_body, 0);
    ck_assert_uint_eq(route_of(image, "nobody", "/")->idle_timeout_ms, 7000);
    image_release(&image);
}
END_TEST

START_TEST(the_image_is_sealed_and_closes_on_exec)
{
    int fd;
    ck_assert_int_eq(try_build(TEXT, 1, &fd), 0);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(fcntl(fd, F_GET_SEALS),
                     F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_lt(pwrite(fd, "x", 1, 0), 0);
    ck_assert_int_lt(ftruncate(fd, st.st_size + 1), 0);
    ck_assert_int_lt(ftruncate(fd, 0), 0);
    close(fd);
}
END_TEST

START_TEST(the_board_shows_upstreams_servers_and_sites)
{
    struct image *image = build(TEXT, 1);
    const struct image_upstream *chat = image_upstream(image, 1);
    const struct board_upstream *shown = board_upstream(&board, chat->board_upstream);
    ck_assert_str_eq(shown->name, "chat");
    ck_assert_str_eq(shown->hash_key, "$remote_addr:$arg_room");
    ck_assert_uint_eq(shown->policy, BALANCE_HASH);
    ck_assert_uint_eq(shown->servers, 2);
    ck_assert_uint_eq(shown->used, 1);
    const struct image_server *server = image_upstream_server(image, chat, 1);
    const struct board_backend *backend = board_backend(&board, server->backend);
    ck_assert_str_eq(backend->upstream, "chat");
    ck_assert_str_eq(backend->server, "unix:/run/s");
    ck_assert_uint_eq(backend->flags, BACKEND_DOWN);
    ck_assert_uint_eq(backend->weight, 1);
    const struct image_server *heavy = image_upstream_server(image, chat, 0);
    ck_assert_uint_eq(board_backend(&board, heavy->backend)->weight, 2);
    ck_assert_str_eq(board_site(&board, image_site(image, 0)->board_site)->name, "b.example");
    ck_assert_str_eq(board_site(&board, image_site(image, 2)->board_site)->name, "a.b.example");
    image_release(&image);
}
END_TEST

START_TEST(the_ring_is_published_for_hash_and_only_for_hash)
{
    struct image *image = build(TEXT, 3);
    const struct image_upstream *chat = image_upstream(image, 1);
    struct ring ring;
    ck_assert_int_eq(ring_find(&board, chat->board_upstream, 3, &ring), 0);
    ck_assert_uint_eq(ring.count, 3 * KETAMA_POINTS_PER_WEIGHT);
    ck_assert_int_eq(ring_find(&board, image_upstream(image, 0)->board_upstream, 3, &ring),
                     -ESTALE);
    /* The same points from the texts as written, the one that is down included. */
    struct ketama_point points[3 * KETAMA_POINTS_PER_WEIGHT];
    uint32_t count = 0;
    ketama_add(points, &count, SLICE("10.0.0.1:80"), 2,
               image_upstream_server(image, chat, 0)->backend);
    ketama_add(points, &count, SLICE("unix:/run/s"), 1,
               image_upstream_server(image, chat, 1)->backend);
    count = ketama_sort(points, count);
    ck_assert_int_eq(ring_find(&board, chat->board_upstream, 3, &ring), 0);
    ck_assert_uint_eq(ring.count, count);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_uint_eq(ring.points[i].hash, points[i].hash);
        ck_assert_uint_eq(ring.points[i].server, points[i].server);
    }
    image_release(&image);
}
END_TEST

START_TEST(names_keep_their_places_across_generations)
{
    static const char other[] =
        "listeners = ( { address = \"80\"; } );\n"
        "upstreams = ( { name = \"new\"; servers = ( { address = \"10.0.0.1:80\"; } ); },\n"
        "  { name = \"chat\"; balance = \"hash\"; hash_key = \"$host\"; servers = (\n"
        "    { address = \"10.0.0.2:80\"; }, { address = \"10.0.0.1:80\"; weight = 7; } ); } );\n"
        "sites = ( { hosts = [ \"new\" ]; }, { hosts = [ \"b.example\" ]; } );";
    struct image *first = build(TEXT, 1);
    struct image *second = build(other, 2);
    ck_assert_uint_eq(image_upstream(first, 1)->board_upstream,
                      image_upstream(second, 1)->board_upstream);
    ck_assert_uint_eq(image_server(first, 1)->backend, image_server(second, 2)->backend);
    ck_assert_uint_ne(image_server(first, 1)->backend, image_server(second, 0)->backend);
    ck_assert_uint_eq(image_site(first, 0)->board_site, image_site(second, 1)->board_site);
    ck_assert_uint_eq(board_backend(&board, image_server(second, 2)->backend)->weight, 7);
    /* Requests that began with the old image still search the old ring. */
    struct ring ring;
    ck_assert_int_eq(ring_find(&board, image_upstream(first, 1)->board_upstream, 1, &ring), 0);
    ck_assert_int_eq(ring_find(&board, image_upstream(first, 1)->board_upstream, 2, &ring), 0);
    image_release(&first);
    image_release(&second);
}
END_TEST

/* A configuration of so many upstreams with one server each. */
static int build_many(uint32_t upstreams, const char *prefix, uint32_t weight, uint32_t generation,
                      int *fd)
{
    FILE *file = fopen("t.conf", "w");
    struct conf *conf;
    ck_assert_ptr_nonnull(file);
    fprintf(file, "listeners = ( { address = \"80\"; } );\nupstreams = (");
    for (uint32_t i = 0; i < upstreams; i++)
        fprintf(file,
                "%s{ name = \"%s%u\"; servers = ( { address = \"10.0.0.1\"; weight = %u; } ); }",
                i > 0 ? "," : "", prefix, i, weight);
    fprintf(file, ");");
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(conf_fixture_load(&fixture, "t.conf", &conf), 0);
    FILE *errors = fmemopen(fixture.messages, sizeof(fixture.messages) - 1, "w");
    int rc = conf_image_build(conf, &board, generation, fd, errors);
    fclose(errors);
    conf_free(&conf);
    return rc;
}

START_TEST(a_full_board_refuses_the_new_and_leaves_the_old)
{
    int fd;
    ck_assert_int_eq(build_many(700, "a", 9, 1, &fd), 0);
    close(fd);
    ck_assert_uint_eq(board_backend(&board, 0)->weight, 9);
    /* The first generation's upstreams keep their places beside those of the second. */
    ck_assert_int_eq(build_many(500, "b", 8, 2, &fd), -ENOSPC);
    ck_assert_int_eq(fd, -1);
    ck_assert_str_eq(fixture.messages,
                     "t.conf: upstream \"b324\": the board has no place left (No space left on "
                     "device); names that were configured before keep theirs until the second "
                     "reload after the last tunnel to them has ended\n");
    ck_assert_str_eq(board_upstream(&board, 0)->name, "a0");
    ck_assert_uint_eq(board_backend(&board, 0)->weight, 9);
    /* A smaller one goes with the same number. */
    ck_assert_int_eq(build_many(300, "b", 8, 2, &fd), 0);
    close(fd);
}
END_TEST

START_TEST(a_build_that_fails_changes_no_weight_that_is_in_use)
{
    int fd;
    ck_assert_int_eq(build_many(1000, "a", 9, 1, &fd), 0);
    close(fd);
    /* The old names come first and find their places; the new ones do not. */
    FILE *file = fopen("t.conf", "w");
    fprintf(file, "listeners = ( { address = \"80\"; } );\nupstreams = (\n"
                  "{ name = \"a0\"; balance = \"hash\"; hash_key = \"$host\"; servers = ( "
                  "{ address = \"10.0.0.1\"; weight = 5; down = true; } ); }");
    for (int i = 0; i < 100; i++)
        fprintf(file, ",\n{ name = \"b%d\"; servers = ( { address = \"10.0.0.1\"; } ); }", i);
    fprintf(file, ");");
    ck_assert_int_eq(fclose(file), 0);
    struct conf *conf;
    ck_assert_int_eq(conf_fixture_load(&fixture, "t.conf", &conf), 0);
    FILE *errors = fmemopen(fixture.messages, sizeof(fixture.messages) - 1, "w");
    ck_assert_int_eq(conf_image_build(conf, &board, 2, &fd, errors), -ENOSPC);
    fclose(errors);
    conf_free(&conf);
    ck_assert_uint_eq(board_backend(&board, 0)->weight, 9);
    ck_assert_uint_eq(board_backend(&board, 0)->flags, 0);
    ck_assert_uint_eq(board_upstream(&board, 0)->policy, BALANCE_ROUND_ROBIN);
}
END_TEST

START_TEST(without_a_descriptor_for_the_image_the_board_is_left_alone)
{
    struct rlimit limit, none;
    int fd, before;
    ck_assert_int_eq(build_many(2, "a", 9, 1, &before), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct conf *conf = conf_fixture_good(&fixture, TEXT);
    FILE *errors = fmemopen(fixture.messages, sizeof(fixture.messages) - 1, "w");
    none = (struct rlimit){0, limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    int rc = conf_image_build(conf, &board, 2, &fd, errors);
    setrlimit(RLIMIT_NOFILE, &limit);
    fclose(errors);
    conf_free(&conf);
    close(before);
    ck_assert_int_eq(rc, -EMFILE);
    ck_assert_int_eq(fd, -1);
    ck_assert_uint_eq(board_backend(&board, 0)->used, 1);
    for (uint32_t i = 2; i < BOARD_BACKENDS_MAX; i++)
        ck_assert_uint_eq(board_backend(&board, i)->used, 0);
}
END_TEST

START_TEST(an_image_that_is_held_outlives_its_descriptor_and_its_successor)
{
    struct image *image = build(TEXT, 1);
    struct image *held = image_acquire(image);
    ck_assert_ptr_eq(held, image);
    image_release(&image);
    site_is(held, "b.example", "b.example");
    image_release(&held);
    ck_assert_ptr_null(held);
    image_release(&held);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("conf_image");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_set_timeout(all, 60);
    tcase_add_test(all, the_image_holds_what_every_request_needs);
    tcase_add_test(all, upstreams_stand_in_the_image_in_the_order_of_the_file);
    tcase_add_test(all, a_host_finds_its_site_exactly_then_by_wildcard_then_by_default);
    tcase_add_test(all, without_a_default_site_an_unknown_host_finds_none);
    tcase_add_test(all, many_hosts_are_all_found);
    tcase_add_test(all, the_route_with_the_longest_path_is_found);
    tcase_add_test(all, every_inherited_value_stands_in_the_route);
    tcase_add_test(all, the_image_is_sealed_and_closes_on_exec);
    tcase_add_test(all, the_board_shows_upstreams_servers_and_sites);
    tcase_add_test(all, the_ring_is_published_for_hash_and_only_for_hash);
    tcase_add_test(all, names_keep_their_places_across_generations);
    tcase_add_test(all, a_full_board_refuses_the_new_and_leaves_the_old);
    tcase_add_test(all, a_build_that_fails_changes_no_weight_that_is_in_use);
    tcase_add_test(all, without_a_descriptor_for_the_image_the_board_is_left_alone);
    tcase_add_test(all, an_image_that_is_held_outlives_its_descriptor_and_its_successor);
    Suite *suite = suite_create("conf_image");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
