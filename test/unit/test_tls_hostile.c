/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same hostile bytes are given to SSL_read and to our record layer, with the same keys: both must
 * give the same data, the same alert and end the same way, but for a few named differences.
 */
#include "common/crypto_memory.h"
#include "test/unit/tls_fixture.h"
#include "test/unit/tls_forge.h"
#include "worker/tls_record.h"

#include <check.h>
#include <openssl/err.h>
#include <stdlib.h>

enum { OPS_MAX = 6, STREAM_MAX = 1 << 18, BIG = 16384 };
enum { ALERT = TLS_ALERT, SHAKE = TLS_HANDSHAKE, DATA = TLS_APPLICATION };

/* How a hostile stream is made, step by step. `record` is the one that was sealed last. */
enum op_kind {
    OP_END,
    OP_SEAL,   /* a record of `type` and `text`, `times` times */
    OP_FILL,   /* a record of `type`, `n` bytes, padded by `pad` */
    OP_RAW,    /* `text` as it is */
    OP_FLIP,   /* flip a bit in a byte of the record, seen from its end */
    OP_SET,    /* a byte of the record, seen from its start */
    OP_REPLAY, /* the record once more */
    OP_SKIP,   /* a sequence number */
    OP_ROLL,   /* keys, as after a KeyUpdate */
    OP_UPDATE, /* `times` KeyUpdates, each under the keys of the one before */
};

struct op {
    enum op_kind kind;
    uint8_t type;
    const char *text;
    size_t n;
    size_t pad; /* OP_SET: the value */
    int times;
};

#define SEAL(type, text)                                                                           \
    {                                                                                              \
        OP_SEAL, type, text, sizeof(text) - 1, 0, 1                                                \
    }
#define SEALS(times, type, text)                                                                   \
    {                                                                                              \
        OP_SEAL, type, text, sizeof(text) - 1, 0, times                                            \
    }
#define PADDED(type, text, pad)                                                                    \
    {                                                                                              \
        OP_SEAL, type, text, sizeof(text) - 1, pad, 1                                              \
    }
#define FILL(type, n, pad)                                                                         \
    {                                                                                              \
        OP_FILL, type, NULL, n, pad, 1                                                             \
    }
#define RAW(text)                                                                                  \
    {                                                                                              \
        OP_RAW, 0, text, sizeof(text) - 1, 0, 1                                                    \
    }
#define FLIP(from_end)                                                                             \
    {                                                                                              \
        OP_FLIP, 0, NULL, from_end, 0, 1                                                           \
    }
#define SET(at, value)                                                                             \
    {                                                                                              \
        OP_SET, 0, NULL, at, value, 1                                                              \
    }
#define REPLAY                                                                                     \
    {                                                                                              \
        OP_REPLAY, 0, NULL, 0, 0, 1                                                                \
    }
#define SKIP                                                                                       \
    {                                                                                              \
        OP_SKIP, 0, NULL, 0, 0, 1                                                                  \
    }
#define ROLL                                                                                       \
    {                                                                                              \
        OP_ROLL, 0, NULL, 0, 0, 1                                                                  \
    }
#define UPDATES(times)                                                                             \
    {                                                                                              \
        OP_UPDATE, 0, NULL, 0, 0, times                                                            \
    }

struct hostile {
    const char *name;
    struct op ops[OPS_MAX];
};

#define KEY_UPDATE "\x18\0\0\1\0"

static const struct hostile hostile_13[] = {
    {"plain", {SEAL(DATA, "hello")}},
    {"bad tag", {SEAL(DATA, "hello"), FLIP(1)}},
    {"bad text", {SEAL(DATA, "hello"), FLIP(20)}},
    {"shorter header", {SEAL(DATA, "hello"), SET(4, 5 + 16)}},
    {"replay", {SEAL(DATA, "hello"), REPLAY}},
    {"lost record", {SKIP, SEAL(DATA, "hello")}},
    {"one empty", {SEAL(DATA, ""), SEAL(DATA, "x")}},
    {"32 empty", {SEALS(32, DATA, ""), SEAL(DATA, "x")}},
    {"33 empty", {SEALS(33, DATA, ""), SEAL(DATA, "x")}},
    {"33 padded empty", {FILL(DATA, 0, 9), SEALS(32, DATA, ""), SEAL(DATA, "x")}},
    {"padding", {PADDED(DATA, "hello", 9000)}},
    {"full with padding", {FILL(DATA, BIG - 200, 200)}},
    {"full", {FILL(DATA, BIG, 0)}},
    {"overfull by padding", {FILL(DATA, BIG, 200)}},
    {"only padding", {PADDED(0, "", 20)}},
    {"one byte too many", {FILL(DATA, BIG + 1, 0)}},
    {"as much as a ciphertext may have", {FILL(DATA, BIG + 256 - 17, 0)}},
    {"too long a header", {RAW("\x17\3\3\x41\1")}},
    {"shorter than a tag", {RAW("\x17\3\3\0\20aaaaaaaaaaaaaaaa")}},
    {"length 0", {RAW("\x17\3\3\0\0")}},
    {"version 3.1", {SEAL(DATA, "hello"), SET(2, 1)}},
    {"alert in plain text", {RAW("\x15\3\3\0\2\2\x28")}},
    {"handshake in plain text", {RAW("\x16\3\3\0\5\x18\0\0\1\0")}},
    {"change cipher spec", {RAW("\x14\3\3\0\1\1")}},
    {"change cipher spec, sealed", {SEAL(20, "\1")}},
    {"type 99", {SEAL(99, "x")}},
    {"empty handshake", {SEAL(SHAKE, "")}},
    {"empty alert", {SEAL(ALERT, "")}},
    {"half an alert", {SEAL(ALERT, "\1")}},
    {"one and a half alerts", {SEAL(ALERT, "\1\0\0")}},
    {"two alerts", {SEAL(ALERT, "\1\x5a\1\0")}},
    {"fatal alert", {SEAL(ALERT, "\2\x28")}},
    {"alert that calls itself a warning", {SEAL(ALERT, "\1\x28")}},
    {"close", {SEAL(ALERT, "\1\0")}},
    {"fatal close", {SEAL(ALERT, "\2\0")}},
    {"close and data", {SEAL(ALERT, "\1\0"), SEAL(DATA, "zzz")}},
    {"user canceled", {SEAL(ALERT, "\1\x5a"), SEAL(DATA, "zzz")}},
    {"4 times user canceled", {SEALS(4, ALERT, "\1\x5a"), SEAL(DATA, "zzz")}},
    {"5 times user canceled", {SEALS(5, ALERT, "\1\x5a"), SEAL(DATA, "zzz")}},
    {"update", {SEAL(SHAKE, KEY_UPDATE), ROLL, SEAL(DATA, "after")}},
    {"update, asking", {SEAL(SHAKE, "\x18\0\0\1\1"), ROLL, SEAL(DATA, "after")}},
    {"3 updates, asking",
     {SEAL(SHAKE, "\x18\0\0\1\1"), ROLL, SEAL(SHAKE, "\x18\0\0\1\1"), ROLL, SEAL(SHAKE, KEY_UPDATE),
      ROLL}},
    {"update of a third kind", {SEAL(SHAKE, "\x18\0\0\1\2"), ROLL, SEAL(DATA, "after")}},
    {"update of 2 bytes", {SEAL(SHAKE, "\x18\0\0\2\0\0"), ROLL, SEAL(DATA, "after")}},
    {"update of 0 bytes", {SEAL(SHAKE, "\x18\0\0\0"), ROLL, SEAL(DATA, "after")}},
    {"update and the old keys", {SEAL(SHAKE, KEY_UPDATE), SEAL(DATA, "after")}},
    {"two updates in a record", {SEAL(SHAKE, KEY_UPDATE KEY_UPDATE), ROLL, SEAL(DATA, "after")}},
    {"update in two records",
     {SEAL(SHAKE, "\x18\0"), SEAL(SHAKE, "\0\1\0"), ROLL, SEAL(DATA, "after")}},
    {"update in padded records",
     {PADDED(SHAKE, "\x18", 3), PADDED(SHAKE, "\0\0\1", 7), SEAL(SHAKE, "\0"), ROLL,
      SEAL(DATA, "after")}},
    {"data within an update", {SEAL(SHAKE, "\x18\0"), SEAL(DATA, "zz"), SEAL(SHAKE, "\0\1\0")}},
    {"alert within an update", {SEAL(SHAKE, "\x18\0"), SEAL(ALERT, "\1\0")}},
    {"32 updates", {UPDATES(32), SEAL(DATA, "after")}},
    {"33 updates", {UPDATES(33), SEAL(DATA, "after")}},
    {"updates with data between", {UPDATES(30), SEAL(DATA, "x"), UPDATES(30), SEAL(DATA, "after")}},
    {"client hello", {SEAL(SHAKE, "\1\0\0\4\0\0\0\0")}},
    {"finished", {SEAL(SHAKE, "\24\0\0\4\0\0\0\0")}},
    {"certificate", {SEAL(SHAKE, "\13\0\0\4\0\0\0\0")}},
    {"ticket from a client", {SEAL(SHAKE, "\4\0\0\4\0\0\0\0")}},
    {"update of 16 MiB", {SEAL(SHAKE, "\x18\xff\xff\xff\0\0\0\0")}},
};

static const struct hostile hostile_12[] = {
    {"plain", {SEAL(DATA, "hello")}},
    {"bad tag", {SEAL(DATA, "hello"), FLIP(1)}},
    {"bad text", {SEAL(DATA, "hello"), FLIP(18)}},
    {"other nonce or text", {SEAL(DATA, "hello"), SET(5, 'h' ^ 1)}},
    {"other type", {SEAL(DATA, "\2\x28"), SET(0, ALERT)}},
    {"shorter header", {SEAL(DATA, "hello"), SET(4, 8 + 2 + 16)}},
    {"replay", {SEAL(DATA, "hello"), REPLAY}},
    {"lost record", {SKIP, SEAL(DATA, "hello")}},
    {"one empty", {SEAL(DATA, ""), SEAL(DATA, "x")}},
    {"32 empty", {SEALS(32, DATA, ""), SEAL(DATA, "x")}},
    {"33 empty", {SEALS(33, DATA, ""), SEAL(DATA, "x")}},
    {"full", {FILL(DATA, BIG, 0)}},
    {"one byte too many", {FILL(DATA, BIG + 1, 0)}},
    {"too long a header", {RAW("\x17\3\3\x48\1")}},
    {"shorter than a tag", {RAW("\x17\3\3\0\17aaaaaaaaaaaaaaa")}},
    {"length 0", {RAW("\x17\3\3\0\0")}},
    {"version 3.1", {SEAL(DATA, "hello"), SET(2, 1)}},
    {"alert in plain text", {RAW("\x15\3\3\0\2\2\x28")}},
    {"change cipher spec", {SEAL(20, "\1")}},
    {"type 99", {SEAL(99, "x")}},
    {"empty handshake", {SEAL(SHAKE, "")}},
    {"empty alert", {SEAL(ALERT, "")}},
    {"half an alert", {SEAL(ALERT, "\1")}},
    {"one and a half alerts", {SEAL(ALERT, "\1\0\0")}},
    {"fatal alert", {SEAL(ALERT, "\2\x28")}},
    {"a warning", {SEAL(ALERT, "\1\x29"), SEAL(DATA, "zzz")}},
    {"4 warnings", {SEALS(4, ALERT, "\1\x29"), SEAL(DATA, "zzz")}},
    {"5 warnings", {SEALS(5, ALERT, "\1\x29"), SEAL(DATA, "zzz")}},
    {"alert of level 9", {SEAL(ALERT, "\x9\x29")}},
    {"close", {SEAL(ALERT, "\1\0")}},
    {"close and data", {SEAL(ALERT, "\1\0"), SEAL(DATA, "zzz")}},
    {"client hello", {SEAL(SHAKE, "\1\0\0\4\0\0\0\0")}},
    {"hello request", {SEAL(SHAKE, "\0\0\0\0")}},
    {"finished", {SEAL(SHAKE, "\24\0\0\4\0\0\0\0")}},
};

/* From a server. */
#define TICKET "\4\0\0\x10\0\0\x1c\x20\1\2\3\4\1\7\0\2ab\0\0"
static const struct hostile hostile_client_13[] = {
    {"plain", {SEAL(DATA, "hello")}},
    {"ticket", {SEAL(SHAKE, TICKET), SEAL(DATA, "x")}},
    {"32 tickets", {SEALS(32, SHAKE, TICKET), SEAL(DATA, "x")}},
    {"33 tickets", {SEALS(33, SHAKE, TICKET), SEAL(DATA, "x")}},
    {"tickets in one record", {SEAL(SHAKE, TICKET TICKET TICKET), SEAL(DATA, "x")}},
    {"ticket in two records",
     {SEAL(SHAKE, "\4\0\0\x10\0\0\x1c\x20\1"),
      SEAL(SHAKE, "\2\3\4\1\7\0\2"
                  "ab\0\0"),
      SEAL(DATA, "x")}},
    {"data within a ticket", {SEAL(SHAKE, "\4\0\0\x10\0\0\x1c\x20\1"), SEAL(DATA, "x")}},
    {"ticket and update", {SEAL(SHAKE, TICKET KEY_UPDATE), ROLL, SEAL(DATA, "after")}},
    {"update and ticket", {SEAL(SHAKE, KEY_UPDATE TICKET), ROLL, SEAL(DATA, "after")}},
    {"malformed ticket", {SEAL(SHAKE, "\4\0\0\4\0\0\0\0"), SEAL(DATA, "x")}},
    {"ticket of 16 MiB", {SEAL(SHAKE, "\4\xff\xff\xff\0\0\0\0")}},
    {"certificate request", {SEAL(SHAKE, "\15\0\0\3\0\0\0")}},
    {"hello request", {SEAL(SHAKE, "\0\0\0\0")}},
    {"close", {SEAL(ALERT, "\1\0")}},
};

static const struct hostile hostile_client_12[] = {
    {"plain", {SEAL(DATA, "hello")}},
    {"hello request", {SEAL(SHAKE, "\0\0\0\0"), SEAL(DATA, "x")}},
    {"33 hello requests", {SEALS(33, SHAKE, "\0\0\0\0"), SEAL(DATA, "x")}},
    {"long hello request", {SEAL(SHAKE, "\0\0\0\1\0"), SEAL(DATA, "x")}},
    {"server hello", {SEAL(SHAKE, "\2\0\0\4\0\0\0\0")}},
    {"ticket", {SEAL(SHAKE, "\4\0\0\6\0\0\0\0\0\0")}},
    {"close", {SEAL(ALERT, "\1\0")}},
};

/*
 * Where we differ on purpose, if OpenSSL's verdict is not the same after all. Verdicts: bytes of data,
 * alert that was answered, how it ended.
 */
static const struct difference {
    enum tls_version version;
    bool client; /* the attacked side */
    const char *name, *openssl, *ours;
} differences[] = {
    {TLS_1_3, false, "version 3.1", "0 50 failed", "0 70 failed"},
    {TLS_1_3, false, "update of 2 bytes", "0 47 failed", "0 50 failed"},
    {TLS_1_3, false, "update of 16 MiB", "0 47 failed", "0 50 failed"},
    {TLS_1_3, false, "33 updates", "5 - open", "0 10 failed"}, /* nothing else would end that */
    {TLS_1_3, false, "3 updates, asking", "0 - open, 2 updates", "0 - open, 1 updates"},
    {TLS_1_2, false, "shorter than a tag", "0 80 failed", "0 20 failed"},
    {TLS_1_2, false, "length 0", "0 80 failed", "0 20 failed"},
    {TLS_1_2, false, "alert in plain text", "0 80 failed", "0 20 failed"},
    {TLS_1_2, false, "empty handshake", "0 - open", "0 10 failed"},
    {TLS_1_2, false, "client hello", "0 100 open", "0 10 failed"}, /* a warning: no renegotiation */
    {TLS_1_3, true, "33 tickets", "1 - open", "0 10 failed"},
    {TLS_1_3, true, "malformed ticket", "0 50 failed", "1 - open"}, /* we do not read them */
    {TLS_1_2, true, "hello request", "1 100 open", "1 - open"},
    {TLS_1_2, true, "33 hello requests", "1 100 open", "0 10 failed"},
    {TLS_1_2, true, "long hello request", "0 47 failed", "0 10 failed"},
};

static const struct difference *difference(const struct tls_case *suite, bool client,
                                           const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(differences); i++) {
        if (differences[i].version == suite->version && differences[i].client == client &&
            strcmp(differences[i].name, name) == 0)
            return &differences[i];
    }
    return NULL;
}

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t n;
    size_t record; /* where the last record begins */
};

static void seal(struct stream *stream, struct tls_session *client, const struct op *op)
{
    static uint8_t filler[BIG + 256];
    memset(filler, 'd', sizeof filler);
    const uint8_t *content = op->kind == OP_FILL ? filler : (const uint8_t *)op->text;
    for (int i = 0; i < op->times; i++) {
        stream->record = stream->n;
        stream->n +=
            tls_forge_record(client, op->type, content, op->n, op->pad, stream->bytes + stream->n);
    }
}

static void apply(struct stream *stream, struct tls_session *client, const struct op *op)
{
    static const struct op update = SEAL(SHAKE, KEY_UPDATE);
    uint8_t *record = stream->bytes + stream->record;
    size_t n = stream->n - stream->record;

    switch (op->kind) {
    case OP_END: break;
    case OP_SEAL:
    case OP_FILL: seal(stream, client, op); break;
    case OP_RAW:
        memcpy(stream->bytes + stream->n, op->text, op->n);
        stream->n += op->n;
        break;
    case OP_FLIP: record[n - op->n] ^= 1; break;
    case OP_SET: record[op->n] = (uint8_t)op->pad; break;
    case OP_REPLAY:
        memcpy(stream->bytes + stream->n, record, n);
        stream->n += n;
        break;
    case OP_SKIP: client->tx.seq++; break;
    case OP_ROLL: tls_forge_roll(client); break;
    case OP_UPDATE:
        for (int i = 0; i < op->times; i++) {
            seal(stream, client, &update);
            tls_forge_roll(client);
        }
        break;
    }
}

/* What a server makes of a stream. */
struct verdict {
    uint8_t data[STREAM_MAX];
    size_t n;
    uint8_t output[STREAM_MAX]; /* records that it answers */
    size_t output_n;
    const char *end; /* open, more (waits for the rest of a record), closed, failed, aborted */
    char text[64];
};

static void ask_openssl(struct tls_link *link, const struct stream *stream, struct verdict *verdict)
{
    int rc;

    BIO_write(link->to_peer, stream->bytes, (int)stream->n);
    ERR_clear_error();
    while ((rc = SSL_read(link->peer, verdict->data + verdict->n, (int)(STREAM_MAX - verdict->n))) >
           0)
        verdict->n += (size_t)rc;
    int reason = ERR_GET_REASON(ERR_peek_error());
    switch (SSL_get_error(link->peer, rc)) {
    case SSL_ERROR_ZERO_RETURN: verdict->end = "closed"; break;
    case SSL_ERROR_SSL: verdict->end = reason > SSL_AD_REASON_OFFSET ? "aborted" : "failed"; break;
    default:
        verdict->end =
            BIO_ctrl_pending(link->to_peer) || SSL_has_pending(link->peer) ? "more" : "open";
    }
    if (strcmp(verdict->end, "open") == 0)
        ck_assert_int_eq(SSL_write(link->peer, "!", 1), 1);
    ERR_clear_error();
    link->n = 0;
    tls_link_fetch(link);
    memcpy(verdict->output, link->bytes, link->n);
    verdict->output_n = link->n;
}

/* Opens one record. Returns 0, 1 (closed), an alert, or below -TLS_PEER_ALERT. */
static int take_record(struct tls_engine *engine, struct tls_session *session,
                       const uint8_t *record, size_t n, struct verdict *verdict)
{
    static uint8_t content[TLS_RECORD_MAX];
    enum tls_record_type type;

    int size = tls_record_open(engine, session, record, n, content, &type);
    if (size < 0)
        return size;
    if (type != TLS_APPLICATION)
        return tls_record_control(session, type, content, (size_t)size);
    memcpy(verdict->data + verdict->n, content, (size_t)size);
    verdict->n += (size_t)size;
    return 0;
}

/* A byte of data, which OpenSSL, too, waits for before it answers a KeyUpdate. */
static void answer(struct tls_engine *engine, struct tls_session *session, struct verdict *verdict)
{
    bool ask;
    int n = 0;

    if (tls_record_update_due(session, &ask))
        n = tls_record_update(engine, session, ask, verdict->output);
    ck_assert_int_ge(n, 0);
    verdict->output_n = (size_t)n;
    n = tls_record_seal(engine, session, TLS_APPLICATION, (const uint8_t *)"!", 1,
                        verdict->output + n);
    ck_assert_int_gt(n, 0);
    verdict->output_n += (size_t)n;
}

static void ask_ours(struct tls_engine *engine, struct tls_session *session,
                     const struct stream *stream, struct verdict *verdict)
{
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < stream->n;) {
        int whole = tls_record_need(session, stream->bytes + at, stream->n - at);
        if (whole == 0 || (whole > 0 && (size_t)whole > stream->n - at)) {
            verdict->end = "more";
            return;
        }
        rc = whole < 0 ? whole
                       : take_record(engine, session, stream->bytes + at, (size_t)whole, verdict);
        at += (size_t)whole;
    }
    verdict->end = rc == 0                ? "open"
                   : rc == 1              ? "closed"
                   : rc < -TLS_PEER_ALERT ? "aborted"
                                          : "failed";
    if (rc == 0) {
        answer(engine, session, verdict);
    } else if (rc < 0 && rc > -TLS_PEER_ALERT) {
        int n = tls_record_alert(engine, session, (enum tls_alert) - rc, verdict->output);
        ck_assert_int_gt(n, 0);
        verdict->output_n = (size_t)n;
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

/* "data alert end", and how many KeyUpdates were answered, if any. `client` opens what was answered. */
static void describe(struct tls_engine *engine, struct tls_session client, struct verdict *verdict)
{
    uint8_t content[TLS_RECORD_MAX];
    char alert[8] = "-";

    for (size_t at = 0; at < verdict->output_n;) {
        enum tls_record_type type;
        const uint8_t *record = verdict->output + at;
        int whole = tls_record_need(&client, record, verdict->output_n - at);
        ck_assert_int_gt(whole, 0);
        int n = tls_record_open(engine, &client, record, (size_t)whole, content, &type);
        ck_assert_int_ge(n, 1);
        if (type == TLS_ALERT)
            snprintf(alert, sizeof alert, "%d", content[1]);
        else if (type == TLS_HANDSHAKE)
            ck_assert_int_eq(tls_record_control(&client, type, content, (size_t)n), 0);
        at += (size_t)whole;
    }
    int n =
        snprintf(verdict->text, sizeof verdict->text, "%zu %s %s", verdict->n, alert, verdict->end);
    if (client.rx.updates > 0)
        snprintf(verdict->text + n, sizeof verdict->text - (size_t)n, ", %u updates",
                 client.rx.updates);
}

struct attack {
    SSL_CTX *server;
    SSL_CTX *client;
    bool on_client;
};

/* A connection whose attacker has exported its keys; the other end is OpenSSL's. */
static struct tls_session connect_both(const struct attack *attack, const struct tls_case *suite,
                                       struct tls_link *link, struct tls_engine *engine)
{
    const char *why = "";

    if (attack->on_client)
        tls_link_init(link, tls_handshake_accept(attack->server), attack->client);
    else
        tls_link_init(link, tls_handshake_connect(attack->client, NULL, NULL), attack->server);
    tls_fixture_restrict(link->peer, suite);
    ck_assert_int_eq(tls_link_shake(link, &why), 1);
    struct tls_session attacker = tls_link_export(link, engine, NULL);
    link->n = 0;
    if (suite->version == TLS_1_3 && !attack->on_client)
        attacker.rx.seq = 1; /* the ticket is passed over */
    return attacker;
}

static void compare(const struct attack *attack, const struct tls_case *suite,
                    const struct hostile *hostile)
{
    static struct tls_link link;
    static struct stream stream;
    static struct verdict openssl, ours;
    struct tls_engine *engine = tls_engine_new();

    memset(&stream, 0, sizeof stream);
    memset(&openssl, 0, sizeof openssl);
    memset(&ours, 0, sizeof ours);
    struct tls_session attacker = connect_both(attack, suite, &link, engine);
    struct tls_session listener = attacker, victim = tls_forge_mirror(&attacker);
    for (int i = 0; i < OPS_MAX; i++)
        apply(&stream, &attacker, &hostile->ops[i]);
    ask_openssl(&link, &stream, &openssl);
    ask_ours(engine, &victim, &stream, &ours);
    describe(engine, listener, &openssl);
    describe(engine, listener, &ours);
    bool same = strcmp(openssl.text, ours.text) == 0;
    const struct difference *known = difference(suite, attack->on_client, hostile->name);
    ck_assert_msg((same || (known && strcmp(openssl.text, known->openssl) == 0)) &&
                      (!known || strcmp(ours.text, known->ours) == 0),
                  "%s, %s: OpenSSL %s, ours %s", suite->name, hostile->name, openssl.text,
                  ours.text);
    ck_assert(!same || memcmp(openssl.data, ours.data, ours.n) == 0);
    tls_link_fini(&link);
    tls_engine_free(&engine);
}

/* The three suites of a version. */
static void compare_all(enum tls_version version, bool on_client, const struct hostile *rows,
                        size_t n)
{
    struct attack attack = {tls_fixture_server(), tls_fixture_client(), on_client};
    size_t first = version == TLS_1_3 ? 0 : 3, step = version == TLS_1_3 ? 1 : 2;

    for (size_t i = 0; i < 3; i++) {
        for (size_t row = 0; row < n; row++)
            compare(&attack, &tls_cases[first + i * step], &rows[row]);
    }
    SSL_CTX_free(attack.server);
    SSL_CTX_free(attack.client);
}

START_TEST(a_server_of_tls_1_3_judges_hostile_records_as_openssl_does)
{
    compare_all(TLS_1_3, false, hostile_13, ARRAY_LEN(hostile_13));
}
END_TEST

START_TEST(a_server_of_tls_1_2_judges_hostile_records_as_openssl_does)
{
    compare_all(TLS_1_2, false, hostile_12, ARRAY_LEN(hostile_12));
}
END_TEST

START_TEST(a_client_of_tls_1_3_judges_hostile_records_as_openssl_does)
{
    compare_all(TLS_1_3, true, hostile_client_13, ARRAY_LEN(hostile_client_13));
}
END_TEST

START_TEST(a_client_of_tls_1_2_judges_hostile_records_as_openssl_does)
{
    compare_all(TLS_1_2, true, hostile_client_12, ARRAY_LEN(hostile_client_12));
}
END_TEST

int main(void)
{
    if (crypto_memory_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("tls_hostile");
    TCase *tcase = tcase_create("tls_hostile");
    tcase_set_timeout(tcase, 120);
    tcase_add_unchecked_fixture(tcase, tls_fixture_init, NULL);
    tcase_add_test(tcase, a_server_of_tls_1_3_judges_hostile_records_as_openssl_does);
    tcase_add_test(tcase, a_server_of_tls_1_2_judges_hostile_records_as_openssl_does);
    tcase_add_test(tcase, a_client_of_tls_1_3_judges_hostile_records_as_openssl_does);
    tcase_add_test(tcase, a_client_of_tls_1_2_judges_hostile_records_as_openssl_does);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
