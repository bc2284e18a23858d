/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the worker: a board and an image of a configuration, as the master makes them. */
#ifndef TEST_UNIT_WORKER_FIXTURE_H
#define TEST_UNIT_WORKER_FIXTURE_H

#include "shm/board.h"
#include "shm/image.h"
#include "test/unit/conf_fixture.h"

#include <stdio.h>

struct worker_fixture {
    struct conf_fixture conf;
    struct board board;
    struct image *image;
    uint32_t generation;
};

static inline void worker_fixture_init(struct worker_fixture *fixture)
{
    const struct board_shape shape = {.tunnels_max = 16};
    char name[64];
    int32_t owner;
    memset(fixture, 0, sizeof *fixture);
    conf_fixture_init(&fixture->conf);
    snprintf(name, sizeof name, "/hf-test-worker-%d", (int)getpid());
    ck_assert_int_eq(board_create(&fixture->board, name, &shape, &owner), 0);
    ck_assert_int_eq(board_unlink(name), 0); /* now, so that a test that fails leaves nothing */
}

static inline void worker_fixture_fini(struct worker_fixture *fixture)
{
    image_release(&fixture->image);
    board_fini(&fixture->board);
    conf_fixture_fini(&fixture->conf);
}

/* The next generation: what stands in the list `upstreams`, behind a site that uses the first, "u". */
static inline void worker_fixture_load(struct worker_fixture *fixture, const char *upstreams)
{
    static char text[1 << 16];
    int fd;
    int n = snprintf(text, sizeof text,
                     "listeners = ( { address = \"127.0.0.1:8080\"; } );\nupstreams = ( %s );\n"
                     "sites = ( { hosts = [ \"*\" ]; routes = ( { path = \"/\"; upstream = \"u\"; "
                     "host_header = \"x.$proxy_host\"; } ); } );\n",
                     upstreams);
    ck_assert_int_lt(n, (int)sizeof text);
    struct conf *conf = conf_fixture_good(&fixture->conf, text);
    int rc = conf_image_build(conf, &fixture->board, ++fixture->generation, &fd, stderr);
    conf_free(&conf);
    ck_assert_int_eq(rc, 0);
    image_release(&fixture->image);
    ck_assert_int_eq(image_open(&fixture->image, fd), 0);
    ck_assert_int_eq(close(fd), 0);
}

#endif
