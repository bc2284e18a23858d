/* SPDX-License-Identifier: Apache-2.0 */
/* Names of servers, resolved at a DNS server of the test's own: when they are asked for, what the master hears. */
#define _GNU_SOURCE 1
#include "master/checker_names.h"

#include "common/log.h"
#include "master/names.h"
#include "test/unit/worker_fixture.h"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum {
    DNS_EVENT = 1,
    HEAD = 12, /* bytes of a DNS message's header */
};

static struct worker_fixture fixture;
static struct checker_names *names;
static int epoll, dns, master, log_file;
static uint32_t asked; /* for addresses of IPv4 */
static char resolver[64];

static void setup(void)
{
    int ends[2];
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = DNS_EVENT};
    /* An address of our own: no other test's queries come here. */
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(0x7f000000 + (uint32_t)getpid())};
    socklen_t len = sizeof address;
    worker_fixture_init(&fixture);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    dns = socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(dns, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(dns, (struct sockaddr *)&address, &len), 0);
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, dns, &event), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    master = ends[0];
    log_file = memfd_create("log", MFD_CLOEXEC);
    log_init(log_file, LOG_LEVEL_INFO, "test");
    names = checker_names_new(epoll, ends[1]);
    ck_assert_ptr_nonnull(names);
    snprintf(resolver, sizeof resolver, "%s:%u", inet_ntoa(address.sin_addr),
             ntohs(address.sin_port));
}

static void teardown(void)
{
    worker_fixture_fini(&fixture);
}

/* A configuration with one server, by this name. */
static void use(const char *name)
{
    char text[512];
    int fd;
    snprintf(text, sizeof text,
             "listeners = ( { address = \"127.0.0.1:8080\"; } );\nresolver = \"%s\";\n"
             "upstreams = ( { name = \"u\"; servers = ( { address = \"%s:80\"; } ); } );\n",
             resolver, name);
    struct conf *conf = conf_fixture_good(&fixture.conf, text);
    ck_assert_int_eq(conf_image_build(conf, &fixture.board, ++fixture.generation, &fd, stderr), 0);
    conf_free(&conf);
    image_release(&fixture.image);
    ck_assert_int_eq(image_open(&fixture.image, fd), 0);
    close(fd);
    ck_assert_int_eq(checker_names_use(names, fixture.image), 0);
}

/* Every name has the address 192.0.2.1 for an hour, and none of IPv6. */
static void answer_query(void)
{
    static const uint8_t record[] = {0xc0, HEAD, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1};
    uint8_t message[512];
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t n =
        recvfrom(dns, message, sizeof message - sizeof record, 0, (struct sockaddr *)&from, &len);
    ck_assert_int_gt(n, HEAD + 4);
    bool ipv4 = message[n - 3] == 1; /* the question's type */
    message[2] = 0x81;               /* an answer, to a question that asked for recursion */
    message[3] = 0x80;
    message[7] = ipv4;
    asked += ipv4;
    if (ipv4)
        memcpy(message + n, record, sizeof record);
    n += ipv4 ? (ssize_t)sizeof record : 0;
    ck_assert_int_eq(sendto(dns, message, (size_t)n, 0, (struct sockaddr *)&from, len), n);
}

/* As the checker's loop does, until the master has heard of something. */
static struct names_answer run_until_told(void)
{
    struct names_answer answer;
    ssize_t n;
    for (;;) {
        struct epoll_event event;
        int wait_ms = checker_names_run(names);
        n = recv(master, &answer, sizeof answer, MSG_DONTWAIT);
        if (n >= 0)
            break;
        if (epoll_wait(epoll, &event, 1, wait_ms) < 1)
            continue;
        if (event.data.u64 == DNS_EVENT)
            answer_query();
        else
            checker_names_event(names, event.data.u64, event.events);
    }
    ck_assert_int_eq(n, sizeof answer);
    ck_assert(names_is_sound(&answer));
    return answer;
}

static void is_told(const char *text)
{
    struct names_answer answer = run_until_told();
    ck_assert_str_eq(answer.text, text);
    ck_assert_uint_eq(answer.count, 1);
    ck_assert_uint_eq(ntohl(answer.addresses[0].address.u.in.sin_addr.s_addr), 0xc0000201);
}

static bool was_logged(const char *word)
{
    char text[4096];
    ssize_t n = pread(log_file, text, sizeof text, 0);
    return n > 0 && memmem(text, (size_t)n, word, strlen(word));
}

/* It may have let go of it in between, in a configuration that was not sent. */
START_TEST(the_master_is_told_again_with_each_configuration)
{
    use("a.test");
    is_told("a.test:80");
    use("a.test");
    is_told("a.test:80");
    ck_assert_uint_eq(asked, 1);
    use("b.test");
    is_told("b.test:80");
    ck_assert_uint_eq(asked, 2);
    ck_assert_uint_eq(checker_names_count(names), 1);
}
END_TEST

START_TEST(a_resolver_that_cannot_be_set_up_is_tried_again)
{
    struct rlimit limit, few;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    use("a.test");
    few = limit;
    few.rlim_cur = (rlim_t)dup(dns); /* the lowest number that is free */
    close((int)few.rlim_cur);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    ck_assert_int_gt(checker_names_run(names), 0);
    ck_assert(was_logged("resolver_failed"));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    is_told("a.test:80");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checker_names");
    TCase *tc = tcase_create("checker_names");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, the_master_is_told_again_with_each_configuration);
    tcase_add_test(tc, a_resolver_that_cannot_be_set_up_is_tried_again);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
