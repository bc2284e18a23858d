/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After handshakes through the export, and the end of their sessions, no secret of theirs is in any
 * memory of this process that can be written: heap, data, stack. The peers are other processes. What we
 * look for is kept in disguise, so that we do not find our own notes.
 */
#include "common/crypto_memory.h"
#include "test/unit/tls_fixture.h"

#include <check.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 24, SECRETS_MAX = 40 * ROUNDS, DISGUISE = 0x5a, CHUNK = 1 << 20, OVERLAP = 64 };

static struct {
    char name[40];
    uint8_t bytes[48]; /* disguised */
    size_t n;
    unsigned found;
} secrets[SECRETS_MAX];
static size_t secret_count;
static SSL_SESSION *kept; /* a client's, to be resumed */
static unsigned sessions, resumptions;
/* Which pairs of bytes a secret begins with: most of memory is dismissed by this. */
static uint8_t begins[1 << 16];

static void remember(const char *name, const uint8_t *bytes, size_t n)
{
    ck_assert_uint_lt(secret_count, SECRETS_MAX);
    snprintf(secrets[secret_count].name, sizeof secrets[0].name, "%s", name);
    for (size_t i = 0; i < n; i++)
        secrets[secret_count].bytes[i] = bytes[i] ^ DISGUISE;
    secrets[secret_count++].n = n;
    begins[bytes[0] << 8 | bytes[1]] = 1;
}

static bool is_at(const uint8_t *p, size_t i)
{
    size_t n = 0;
    while (n < secrets[i].n && (p[n] ^ DISGUISE) == secrets[i].bytes[n])
        n++;
    return n == secrets[i].n;
}

static void look_at(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at + OVERLAP <= n; at++) {
        if (!begins[p[at] << 8 | p[at + 1]])
            continue;
        for (size_t i = 0; i < secret_count; i++)
            secrets[i].found += is_at(p + at, i);
    }
}

/* From outside, as it were: a sanitizer lets nobody look at freed memory from inside. */
static void look_through(int memory, unsigned long from, unsigned long to)
{
    static uint8_t chunk[CHUNK + OVERLAP];

    memset(chunk, 0, sizeof chunk);
    for (unsigned long at = from; at < to; at += CHUNK) {
        size_t n = to - at < CHUNK + OVERLAP ? to - at : CHUNK + OVERLAP;
        ssize_t got = pread(memory, chunk, n, (off_t)at);
        if (got > 0)
            look_at(chunk, (size_t)got);
    }
    OPENSSL_cleanse(chunk, sizeof chunk);
}

/* How many of the secrets stand somewhere. */
static unsigned search_memory(void)
{
    enum { SHADOW_MIN = 1 << 27 }; /* larger ones are a sanitizer's, and hold no data */
    FILE *maps = fopen("/proc/self/maps", "r");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char line[512];
    unsigned found = 0;

    ck_assert_ptr_nonnull(maps);
    ck_assert_int_ge(memory, 0);
    for (size_t i = 0; i < secret_count; i++)
        secrets[i].found = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char mode[8];
        ck_assert_int_eq(sscanf(line, "%lx-%lx %7s", &from, &to, mode), 3);
        if (mode[0] == 'r' && mode[1] == 'w' && to - from < SHADOW_MIN)
            look_through(memory, from, to);
    }
    for (size_t i = 0; i < secret_count; i++)
        found += secrets[i].found > 0;
    close(memory);
    fclose(maps);
    return found;
}

/* Every secret that OpenSSL has had: of handshake, traffic and exporter, master. */
static void listen_in(const SSL *ssl, const char *line)
{
    const char *hex = strrchr(line, ' ') + 1;
    uint8_t bytes[48];
    size_t n = strlen(hex) / 2;

    ck_assert_uint_le(n, sizeof bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(OPENSSL_hexchar2int((unsigned char)hex[2 * i]) << 4 |
                             OPENSSL_hexchar2int((unsigned char)hex[2 * i + 1]));
    (void)ssl;
    char name[40];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(line, " "), line);
    remember(name, bytes, n);
    OPENSSL_cleanse(bytes, sizeof bytes);
}

static void remember_keys(const struct tls_session *session)
{
    size_t key = session->suite == TLS_AES_128_GCM ? 16 : 32;
    size_t secret = session->suite == TLS_AES_256_GCM ? 48 : 32;

    remember("rx key", session->rx.key, key);
    remember("tx key", session->tx.key, key);
    if (session->version == TLS_1_3) {
        remember("rx secret", session->rx.u.secret, secret);
        remember("tx secret", session->tx.u.secret, secret);
    }
}

/* Another process: OpenSSL's own records, until we close. */
static pid_t start_peer(SSL_CTX *context, const struct tls_case *suite, int fd)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char byte;
    SSL *ssl = SSL_new(context);
    tls_fixture_restrict(ssl, suite);
    SSL_set_fd(ssl, fd);
    int rc = SSL_is_server(ssl) ? SSL_accept(ssl) : SSL_connect(ssl);
    if (rc == 1 && SSL_read(ssl, &byte, 1) == 1)
        SSL_write(ssl, &byte, 1);
    _exit(rc == 1 ? 0 : 1);
}

static void send_output(struct tls_handshake *handshake, int fd)
{
    struct slice output = tls_handshake_output(handshake);
    ck_assert_int_eq(write(fd, output.p, output.n), (ssize_t)output.n);
    tls_handshake_sent(handshake, output.n);
}

static size_t read_record(struct tls_handshake *handshake, int fd, uint8_t *record)
{
    ck_assert_int_eq(recv(fd, record, TLS_RECORD_HEADER, MSG_WAITALL), TLS_RECORD_HEADER);
    int whole = tls_handshake_need(handshake, record, TLS_RECORD_HEADER);
    ck_assert_int_gt(whole, TLS_RECORD_HEADER);
    ssize_t rest = whole - TLS_RECORD_HEADER;
    ck_assert_int_eq(recv(fd, record + TLS_RECORD_HEADER, (size_t)rest, MSG_WAITALL), rest);
    return (size_t)whole;
}

/* What the handshake leaves to be resumed, by the secret in it, and offered to the next peer. */
static void keep_session(struct tls_handshake *ours)
{
    uint8_t secret[48];
    SSL_SESSION *session = tls_handshake_take_session(ours);
    if (!session)
        return;
    size_t n = SSL_SESSION_get_master_key(session, secret, sizeof secret);
    ck_assert_uint_ge(n, 32);
    remember("session", secret, n);
    OPENSSL_cleanse(secret, sizeof secret);
    SSL_SESSION_free(kept);
    kept = session;
    sessions++;
}

/* Returns the handshake if it awaits a ticket. */
static struct tls_handshake *handshake(SSL_CTX *context, bool client, int fd,
                                       struct tls_engine *engine, struct tls_session *session)
{
    struct tls_handshake *ours = client ? tls_handshake_connect(context, "test.example", kept)
                                        : tls_handshake_accept(context);
    uint8_t record[TLS_RECORD_MAX];
    struct tls_facts facts;
    const char *why = "";
    int rc = client ? tls_handshake_feed(ours, NULL, 0, &why) : 0;

    while (rc == 0) {
        send_output(ours, fd);
        size_t n = read_record(ours, fd, record);
        rc = tls_handshake_feed(ours, record, n, &why);
    }
    ck_assert_msg(rc == 1, "%s", why);
    ck_assert_int_eq(tls_handshake_export(ours, engine, session, &facts, &why), 0);
    send_output(ours, fd);
    resumptions += client && facts.resumed;
    if (!facts
             .resumed) { /* of another suite; OpenSSL gives no ticket to who offers such a session */
        SSL_SESSION_free(kept);
        kept = NULL;
    }
    keep_session(ours);
    if (!tls_handshake_awaits_ticket(ours))
        tls_handshake_free(&ours);
    return ours;
}

/* Key updates, data there and back; what is expanded for that is in the engine. */
static void talk(struct tls_engine *engine, struct tls_session *session, struct tls_handshake *ours,
                 int fd)
{
    uint8_t record[TLS_RECORD_MAX], content[TLS_RECORD_MAX];
    enum tls_record_type type = TLS_HANDSHAKE;
    int n = 0;

    if (session->version == TLS_1_3) {
        n = tls_record_update(engine, session, true, record);
        ck_assert_int_eq(write(fd, record, (size_t)n), n);
    }
    n = tls_record_seal(engine, session, TLS_APPLICATION, (const uint8_t *)"!", 1, record);
    ck_assert_int_eq(write(fd, record, (size_t)n), n);
    while (type != TLS_APPLICATION) {
        recv(fd, record, TLS_RECORD_HEADER, MSG_WAITALL);
        int whole = tls_record_need(session, record, TLS_RECORD_HEADER);
        ck_assert_int_gt(whole, 0);
        recv(fd, record + TLS_RECORD_HEADER, (size_t)whole - TLS_RECORD_HEADER, MSG_WAITALL);
        n = tls_record_open(engine, session, record, (size_t)whole, content, &type);
        ck_assert_int_ge(n, 0);
        if (type == TLS_HANDSHAKE)
            ck_assert_int_eq(tls_record_control(session, type, content, (size_t)n), 0);
        if (ours && type == TLS_HANDSHAKE && tls_handshake_ticket(ours, record, (size_t)whole))
            keep_session(ours);
    }
}

static void one_session(SSL_CTX *ours, SSL_CTX *theirs, bool client, const struct tls_case *suite,
                        struct tls_engine *engine)
{
    static struct tls_session session;
    int pair[2], status;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t peer = start_peer(theirs, suite, pair[1]);
    close(pair[1]);
    size_t before = secret_count;
    struct tls_handshake *waiting = handshake(ours, client, pair[0], engine, &session);
    remember_keys(&session);
    talk(engine, &session, waiting, pair[0]);
    tls_handshake_free(&waiting);
    remember_keys(&session);
    /* The search finds what is there: the keys in use. */
    if (before == 0)
        ck_assert_uint_ge(search_memory(), 2);
    tls_engine_forget(engine, &session);
    tls_session_wipe(&session);
    close(pair[0]);
    ck_assert_int_eq(waitpid(peer, &status, 0), peer);
    ck_assert_int_eq(status, 0);
}

START_TEST(no_secret_of_an_ended_session_is_left_in_memory)
{
    bool client = _i & 1;
    SSL_CTX *ours = client ? tls_fixture_client() : tls_fixture_server();
    SSL_CTX *theirs = client ? tls_fixture_server() : tls_fixture_client();
    struct tls_engine *engine = tls_engine_new();

    SSL_CTX_set_keylog_callback(ours, listen_in);
    for (int i = 0; i < ROUNDS; i++)
        one_session(ours, theirs, client, &tls_cases[(_i & 2 ? 3 : 0) + i / 8 % 3], engine);
    ck_assert_uint_ge(sessions, client ? ROUNDS / 2 : 0);
    ck_assert_uint_ge(resumptions, client ? ROUNDS / 2 : 0);
    if (kept)
        ck_assert_uint_ge(search_memory(), 1); /* the session that is kept, as long as it is */
    SSL_SESSION_free(kept);
    unsigned found = search_memory();
    for (size_t i = 0; i < secret_count; i++) {
        if (secrets[i].found > 0)
            printf("%s of handshake %zu: %u\n", secrets[i].name, i, secrets[i].found);
    }
    ck_assert_uint_eq(found, 0);
    ck_assert_uint_gt(secret_count, 4 * ROUNDS);
    SSL_CTX_free(ours);
    SSL_CTX_free(theirs);
    tls_engine_free(&engine);
}
END_TEST

int main(void)
{
    if (crypto_memory_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("tls_wipe");
    TCase *tcase = tcase_create("tls_wipe");
    tcase_set_timeout(tcase, 60);
    tcase_add_unchecked_fixture(tcase, tls_fixture_init, NULL);
    tcase_add_loop_test(tcase, no_secret_of_an_ended_session_is_left_in_memory, 0, 4);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
