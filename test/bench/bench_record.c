/* SPDX-License-Identifier: Apache-2.0 */
#include "test/bench/bench_record.h"

#include "common/gcm.h"

#include <endian.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    HEADER = 5,
    CONTENT_MAX = 16384,
    RECORD_MAX = HEADER + CONTENT_MAX + 256,
    INPUT_MAX = 8 * RECORD_MAX, /* of one recv, and what was left of the one before */
    SECRET = 32,
    ALERT = 21,
    APPLICATION = 23,
};

struct way {
    struct gcm_key *key;
    uint8_t iv[GCM_NONCE];
    uint64_t seq;
};

struct bench_record {
    struct way rx, tx;
    uint8_t *rest; /* bytes that make no whole record yet; NULL: none */
    size_t rest_len;
    bool more;    /* the last read took all that there was room for */
    uint8_t *due; /* a record that the socket has not taken whole; NULL: none */
    size_t due_at, due_len;
    size_t due_content;
};

/* ---- keys ---- */

/* Both secrets, as the key log tells them before the handshake is over. */
struct secrets {
    uint8_t client[SECRET], server[SECRET];
};

static int place_of_secrets(void)
{
    static int place = -1;
    if (place < 0)
        place = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return place;
}

/* "LABEL RANDOM SECRET", the last two in hexadecimal digits. */
static void listen_in(const SSL *ssl, const char *line)
{
    struct secrets *secrets = SSL_get_ex_data(ssl, place_of_secrets());
    const char *hex = strrchr(line, ' ') + 1;
    bool client = strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0;
    bool server = strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0;
    if (!client && !server)
        return;
    if (!secrets) {
        secrets = calloc(1, sizeof *secrets);
        ASSERT(secrets && SSL_set_ex_data((SSL *)(uintptr_t)ssl, place_of_secrets(), secrets) == 1);
    }
    uint8_t *out = client ? secrets->client : secrets->server;
    for (size_t i = 0; i < SECRET; i++)
        ASSERT(sscanf(hex + 2 * i, "%2hhx", &out[i]) == 1);
}

void bench_record_watch(SSL_CTX *context)
{
    SSL_CTX_set_keylog_callback(context, listen_in);
}

/* RFC 8446 7.3 */
static void expand(const uint8_t *secret, const char *label, uint8_t *out, size_t n)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    char hash[] = "SHA256", mode[] = "EXPAND_ONLY";
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0),
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_MODE, mode, 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, SECRET),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)label, strlen(label)),
        OSSL_PARAM_END,
    };
    ASSERT(context && EVP_KDF_derive(context, out, n, params) == 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

static void set_way(struct way *way, const uint8_t *secret)
{
    uint8_t key[16];
    way->key = gcm_key_new();
    ASSERT(way->key != NULL);
    expand(secret, "key", key, sizeof key);
    expand(secret, "iv", way->iv, sizeof way->iv);
    gcm_key_set(way->key, key, sizeof key);
}

struct bench_record *bench_record_take(SSL *ssl)
{
    struct secrets *secrets = SSL_get_ex_data(ssl, place_of_secrets());
    struct bench_record *record = calloc(1, sizeof *record);
    ASSERT(record && secrets);
    set_way(&record->rx, secrets->server);
    set_way(&record->tx, secrets->client);
    free(secrets);
    SSL_set_ex_data(ssl, place_of_secrets(), NULL);
    return record;
}

void bench_record_free(struct bench_record **record)
{
    if (!*record)
        return;
    gcm_key_free(&(*record)->rx.key);
    gcm_key_free(&(*record)->tx.key);
    free((*record)->rest);
    free((*record)->due);
    free(*record);
    *record = NULL;
}

static void next_nonce(struct way *way, uint8_t nonce[GCM_NONCE])
{
    uint64_t tail;
    memcpy(nonce, way->iv, GCM_NONCE);
    memcpy(&tail, nonce + 4, sizeof tail);
    tail ^= htobe64(way->seq++);
    memcpy(nonce + 4, &tail, sizeof tail);
}

/* ---- input ---- */

/* Open the record at `p` behind `out`. Returns its bytes of data, -ECONNRESET for an alert, or -EPROTO. */
static ssize_t open_one(struct bench_record *record, const uint8_t *p, size_t whole, uint8_t *out)
{
    static uint8_t text[RECORD_MAX];
    uint8_t nonce[GCM_NONCE];
    struct gcm_about about = {nonce, p, HEADER};
    if (whole < HEADER + 1 + GCM_TAG || whole > RECORD_MAX)
        return -EPROTO;
    size_t n = whole - HEADER - GCM_TAG;
    next_nonce(&record->rx, nonce);
    if (p[0] != APPLICATION || !gcm_open(record->rx.key, &about, p + HEADER, n, text))
        return -EPROTO;
    while (n > 0 && text[n - 1] == 0)
        n--;
    if (n == 0 || text[n - 1] == ALERT)
        return n == 0 ? -EPROTO : -ECONNRESET;
    if (text[n - 1] != APPLICATION)
        return 0; /* a ticket */
    memcpy(out, text, n - 1);
    return (ssize_t)n - 1;
}

/* Keep what makes no whole record. */
static void keep_rest(struct bench_record *record, const uint8_t *p, size_t n)
{
    free(record->rest);
    record->rest = n > 0 ? malloc(n) : NULL;
    ASSERT(n == 0 || record->rest);
    if (n > 0)
        memcpy(record->rest, p, n);
    record->rest_len = n;
}

bool bench_record_more(const struct bench_record *record)
{
    return record->more;
}

ssize_t bench_record_recv(struct bench_record *record, int fd, uint8_t *out, size_t n)
{
    static uint8_t input[INPUT_MAX];
    size_t have = record->rest_len, used = 0, content = 0;
    ASSERT(n >= INPUT_MAX);
    if (have > 0)
        memcpy(input, record->rest, have);
    ssize_t got = recv(fd, input + have, INPUT_MAX - have, 0);
    if (got <= 0)
        return got < 0 ? -errno : 0;
    record->more = (size_t)got == INPUT_MAX - have;
    have += (size_t)got;
    while (have - used >= HEADER) {
        size_t whole = HEADER + (size_t)(input[used + 3] << 8 | input[used + 4]);
        if (whole > have - used)
            break;
        ssize_t opened = open_one(record, input + used, whole, out + content);
        if (opened < 0)
            return opened;
        content += (size_t)opened;
        used += whole;
    }
    keep_rest(record, input + used, have - used);
    return content > 0 ? (ssize_t)content : bench_record_recv(record, fd, out, n);
}

/* ---- output ---- */

/* Send what is due. Returns the content in it, or -errno. */
static ssize_t flush(struct bench_record *record, int fd)
{
    ssize_t sent =
        send(fd, record->due + record->due_at, record->due_len - record->due_at, MSG_NOSIGNAL);
    if (sent < 0)
        return -errno;
    record->due_at += (size_t)sent;
    if (record->due_at < record->due_len)
        return -EAGAIN;
    free(record->due);
    record->due = NULL;
    return (ssize_t)record->due_content;
}

ssize_t bench_record_send(struct bench_record *record, int fd, const uint8_t *bytes, size_t n)
{
    static const uint8_t inner_type = APPLICATION;
    static uint8_t out[RECORD_MAX];
    uint8_t nonce[GCM_NONCE];
    struct gcm_about about = {nonce, out, HEADER};
    if (record->due)
        return flush(record, fd);
    n = n < CONTENT_MAX ? n : CONTENT_MAX;
    size_t body = n + 1 + GCM_TAG;
    memcpy(out, (uint8_t[]){APPLICATION, 3, 3, (uint8_t)(body >> 8), (uint8_t)body}, HEADER);
    next_nonce(&record->tx, nonce);
    gcm_seal(record->tx.key, &about, (struct slice){(const char *)bytes, n}, &inner_type,
             out + HEADER);
    ssize_t sent = send(fd, out, HEADER + body, MSG_NOSIGNAL);
    if (sent == (ssize_t)(HEADER + body))
        return (ssize_t)n;
    if (sent < 0 && errno != EAGAIN)
        return -errno;
    /* Its number is used, so it is this record that has to go. */
    record->due_at = sent < 0 ? 0 : (size_t)sent;
    record->due_len = HEADER + body;
    record->due_content = n;
    record->due = malloc(record->due_len);
    ASSERT(record->due != NULL);
    memcpy(record->due, out, record->due_len);
    return -EAGAIN;
}
