/* SPDX-License-Identifier: Apache-2.0 */
#include "common/crypto_memory.h"
#include "test/unit/tls_forge.h"
#include "worker/tls_record.h"

#include <check.h>
#include <openssl/err.h>
#include <stdlib.h>

enum { KINDS = 6 };

static struct tls_engine *engine, *other; /* one is OpenSSL's alone */
static uint8_t text[TLS_PLAIN_MAX + 1], record[TLS_RECORD_MAX], dst[TLS_RECORD_MAX];
static enum tls_record_type type;

static void set_up(void)
{
    engine = tls_engine_new();
    other = tls_engine_new_evp();
    ck_assert(engine && other);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 31 + i / 251 + 1);
}

static void set_up_evp(void)
{
    set_up();
    struct tls_engine *best = engine;
    engine = other;
    other = best;
}

static void tear_down(void)
{
    tls_engine_free(&engine);
    tls_engine_free(&other);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

/* Each version with each suite, by number; `peer` is the other end. */
static struct tls_session session_of(int kind, struct tls_session *peer)
{
    struct tls_session session = tls_forge_session(kind < 3 ? TLS_1_3 : TLS_1_2,
                                                   (enum tls_suite)(TLS_AES_128_GCM + kind % 3), 7);
    *peer = tls_forge_mirror(&session);
    return session;
}

static int seal(struct tls_session *session, size_t n)
{
    return tls_record_seal(engine, session, TLS_APPLICATION, text, n, record);
}

static int open_record(struct tls_session *session, size_t n)
{
    return tls_record_open(engine, session, record, n, dst, &type);
}

static bool same(const struct tls_session *a, const struct tls_session *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* RFC 8448 3: the secrets of both sides, keys, and the client's first record. */
START_TEST(keys_and_records_are_those_of_rfc_8448)
{
    static const uint8_t client_secret[] =
        "\x9e\x40\x64\x6c\xe7\x9a\x7f\x9d\xc0\x5a\xf8\x88\x9b\xce\x65\x52"
        "\x87\x5a\xfa\x0b\x06\xdf\x00\x87\xf7\x92\xeb\xb7\xc1\x75\x04\xa5";
    static const uint8_t server_secret[] =
        "\xa1\x1a\xf9\xf0\x55\x31\xf8\x56\xad\x47\x11\x6b\x45\xa9\x50\x32"
        "\x82\x04\xb4\xf4\x4b\xfb\x6b\x3a\x4b\x4f\x1f\x3f\xcb\x63\x16\x43";
    static const uint8_t expected[] =
        "\x17\x03\x03\x00\x43\xa2\x3f\x70\x54\xb6\x2c\x94\xd0\xaf\xfa\xfe\x82\x28\xba\x55\xcb"
        "\xef\xac\xea\x42\xf9\x14\xaa\x66\xbc\xab\x3f\x2b\x98\x19\xa8\xa5\xb4\x6b\x39\x5b\xd5"
        "\x4a\x9a\x20\x44\x1e\x2b\x62\x97\x4e\x1f\x5a\x62\x92\xa2\x97\x70\x14\xbd\x1e\x3d\xea"
        "\xe6\x3a\xee\xbb\x21\x69\x49\x15\xe4";
    struct tls_session client = {.flags = TLS_CLIENT_ROLE};

    tls_session_from_secrets(&client, TLS_AES_128_GCM, server_secret, client_secret);
    ck_assert_mem_eq(client.tx.key,
                     "\x17\x42\x2d\xda\x59\x6e\xd5\xd9\xac\xd8\x90\xe3\xc6\x3f\x50\x51", 16);
    ck_assert_mem_eq(client.tx.iv, "\x5b\x78\x92\x3d\xee\x08\x57\x90\x33\xe5\x23\xd9", 12);
    ck_assert_mem_eq(client.rx.key,
                     "\x9f\x02\x28\x3b\x6c\x9c\x07\xef\xc2\x6b\xb9\xf2\xac\x92\xe3\x56", 16);
    ck_assert_mem_eq(client.rx.iv, "\xcf\x78\x2b\x88\xdd\x83\x54\x9a\xad\xf1\xe9\x84", 12);
    for (size_t i = 0; i < 50; i++)
        text[i] = (uint8_t)i;
    ck_assert_int_eq(seal(&client, 50), 72);
    ck_assert_mem_eq(record, expected, 72);
}
END_TEST

START_TEST(records_are_byte_for_byte_what_another_implementation_makes)
{
    static uint8_t forged[TLS_RECORD_MAX];
    struct tls_session peer, session = session_of(_i, &peer), twin = session;

    for (size_t n = 0; n <= TLS_PLAIN_MAX; n += n < 100 ? 1 : n % 4096 > 4090 ? 1 : 5) {
        int whole = seal(&session, n);
        quiet_assert(whole == (int)(n + tls_record_overhead(&session)), "%zu: %d", n, whole);
        quiet_assert(whole <= (int)(n + TLS_OVERHEAD_MAX), "%zu: %d", n, whole);
        size_t forged_n = tls_forge_record(&twin, TLS_APPLICATION, text, n, 0, forged);
        quiet_assert(forged_n == (size_t)whole && memcmp(record, forged, forged_n) == 0, "%zu", n);
        peer.empty_run = 0;
        quiet_assert(open_record(&peer, (size_t)whole) == (int)n, "%zu", n);
        quiet_assert(type == TLS_APPLICATION && memcmp(dst, text, n) == 0, "%zu", n);
    }
    ck_assert_uint_eq(session.tx.seq, peer.rx.seq);
    ck_assert_int_eq(seal(&session, TLS_PLAIN_MAX + 1), -TLS_INTERNAL_ERROR);
}
END_TEST

START_TEST(a_record_with_any_bit_altered_is_refused_and_leaves_nothing)
{
    static const uint8_t zeros[256];

    for (size_t n = 0; n <= 64; n += 32) {
        struct tls_session peer, session = session_of(_i, &peer);
        int whole = seal(&session, n);
        for (int bit = 0; bit < whole * 8; bit++) {
            struct tls_session victim = peer;
            record[bit / 8] ^= (uint8_t)(1 << bit % 8);
            memset(dst, 0, sizeof zeros);
            int need = tls_record_need(&victim, record, (size_t)whole);
            quiet_assert(need != 0, "bit %d", bit);
            quiet_assert(open_record(&victim, (size_t)whole) < 0, "bit %d", bit);
            quiet_assert(memcmp(dst, zeros, sizeof zeros) == 0, "bit %d", bit);
            quiet_assert(same(&victim, &peer), "bit %d", bit);
            record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        ck_assert_int_eq(open_record(&peer, (size_t)whole), (int)n);
    }
}
END_TEST

START_TEST(records_open_once_and_in_their_order)
{
    uint8_t first[100];
    struct tls_session peer, session = session_of(_i, &peer), gap;

    int n = seal(&session, 10);
    memcpy(first, record, (size_t)n);
    gap = session;
    int second_n = seal(&session, 20);
    struct tls_session early = peer;
    ck_assert_int_eq(open_record(&early, (size_t)second_n), -TLS_BAD_RECORD_MAC);
    memcpy(record, first, (size_t)n);
    ck_assert_int_eq(open_record(&peer, (size_t)n), 10);
    early = peer;
    ck_assert_int_eq(open_record(&early, (size_t)n), -TLS_BAD_RECORD_MAC);
    ck_assert_int_eq(seal(&gap, 20), second_n); /* the same record again */
    ck_assert_int_eq(open_record(&peer, (size_t)second_n), 20);
}
END_TEST

START_TEST(a_record_is_known_by_its_first_five_bytes)
{
    struct tls_session peer, session = session_of(_i, &peer);
    int whole = seal(&session, 300);

    for (size_t n = 0; n <= (size_t)whole; n++)
        ck_assert_int_eq(tls_record_need(&peer, record, n), n < TLS_RECORD_HEADER ? 0 : whole);
    int limit = TLS_PLAIN_MAX + (_i < 3 ? 256 : 1024);
    for (int length = 0; length < 65536; length++) {
        record[3] = (uint8_t)(length >> 8);
        record[4] = (uint8_t)length;
        int need = tls_record_need(&peer, record, TLS_RECORD_HEADER);
        int least = (int)tls_record_overhead(&peer) - TLS_RECORD_HEADER;
        quiet_assert(need == (length > limit   ? -TLS_RECORD_OVERFLOW
                              : length < least ? -TLS_BAD_RECORD_MAC
                                               : TLS_RECORD_HEADER + length),
                     "%d: %d", length, need);
    }
    for (int first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        bool fine =
            first == TLS_APPLICATION || (_i >= 3 && (first == TLS_ALERT || first == TLS_HANDSHAKE));
        ck_assert_int_eq(tls_record_need(&peer, &byte, 1), fine ? 0 : -TLS_UNEXPECTED_MESSAGE);
    }
}
END_TEST

START_TEST(padding_is_taken_off)
{
    struct tls_session peer, session = session_of(_i, &peer);

    for (size_t pad = 0; pad <= 255; pad++) {
        size_t n = tls_forge_record(&session, TLS_APPLICATION, text, 1 + pad % 7, pad, record);
        ck_assert_int_eq(open_record(&peer, n), (int)(1 + pad % 7));
        ck_assert_mem_eq(dst, text, 1 + pad % 7);
    }
    size_t n = tls_forge_record(&session, TLS_ALERT, (const uint8_t *)"\1\0", 2, 100, record);
    ck_assert_int_eq(open_record(&peer, n), 2);
    ck_assert_int_eq(type, TLS_ALERT);
}
END_TEST

START_TEST(a_fragment_length_holds_for_what_comes_too)
{
    for (uint16_t max = 512; max <= 4096; max = (uint16_t)(max * 2)) {
        struct tls_session peer, session = session_of(_i, &peer);
        peer.max_fragment = max;
        int n = seal(&session, max);
        ck_assert_int_eq(open_record(&peer, (size_t)n), max);
        n = seal(&session, max + 1u);
        ck_assert_int_eq(open_record(&peer, (size_t)n), -TLS_RECORD_OVERFLOW);
        ck_assert_uint_eq(tls_record_content_max(&peer), max);
    }
}
END_TEST

/* A KeyUpdate in the middle of data, cut into records in each of the 16 ways. */
START_TEST(a_key_update_may_be_cut_in_any_way)
{
    for (unsigned cuts = 0; cuts < 16; cuts++) {
        for (uint8_t ask = 0; ask < 2; ask++) {
            const uint8_t message[] = {24, 0, 0, 1, ask};
            struct tls_session peer, session = session_of(_i, &peer);
            for (size_t from = 0, to = 1; to <= sizeof message; to++) {
                if (to < sizeof message && !(cuts >> (to - 1) & 1))
                    continue;
                size_t n = tls_forge_record(&session, TLS_HANDSHAKE, message + from, to - from,
                                            cuts, record);
                int size = open_record(&peer, n);
                ck_assert_int_eq(size, (int)(to - from));
                ck_assert_int_eq(tls_record_control(&peer, type, dst, (size_t)size), 0);
                from = to;
            }
            tls_forge_roll(&session);
            ck_assert_uint_eq(peer.rx.updates, 1);
            ck_assert_int_eq(peer.flags & TLS_UPDATE_OWED, ask ? TLS_UPDATE_OWED : 0);
            size_t n = tls_forge_record(&session, TLS_APPLICATION, text, 9, 0, record);
            ck_assert_int_eq(open_record(&peer, n), 9);
        }
    }
}
END_TEST

START_TEST(our_key_updates_are_followed_and_answered)
{
    struct tls_session peer, session = session_of(_i, &peer);
    bool ask;

    for (int round = 0; round < 5; round++) {
        int n = tls_record_update(engine, &session, true, record);
        ck_assert_int_eq(n, 27);
        ck_assert(session.flags & TLS_UPDATE_ASKED);
        ck_assert_int_eq(open_record(&peer, (size_t)n), 5);
        ck_assert_int_eq(tls_record_control(&peer, type, dst, 5), 0);
        ck_assert(tls_record_update_due(&peer, &ask) && !ask);
        n = tls_record_update(engine, &peer, ask, record);
        ck_assert(!tls_record_update_due(&peer, &ask));
        ck_assert_int_eq(open_record(&session, (size_t)n), 5);
        ck_assert_int_eq(tls_record_control(&session, type, dst, 5), 0);
        ck_assert_int_eq(session.flags & (TLS_UPDATE_ASKED | TLS_UPDATE_OWED), 0);
        n = seal(&session, 100);
        ck_assert_int_eq(open_record(&peer, (size_t)n), 100);
    }
    ck_assert_uint_eq(session.tx.updates, 5);
    ck_assert_uint_eq(peer.tx.updates, 5);
    ck_assert_mem_eq(session.rx.u.secret, peer.tx.u.secret, 48);
}
END_TEST

START_TEST(keys_of_tls_1_3_are_changed_in_time)
{
    struct tls_session peer, session = session_of(_i, &peer);
    bool ask;

    session.tx.seq = (1 << 22) - 1;
    ck_assert(!tls_record_update_due(&session, &ask) && !ask);
    session.tx.seq++;
    ck_assert(tls_record_update_due(&session, &ask) && !ask);
    ck_assert_int_gt(tls_record_update(engine, &session, ask, record), 0);
    ck_assert_uint_eq(session.tx.seq, 0);
    session.rx.seq = (1 << 23) - 1;
    ck_assert(!tls_record_update_due(&session, &ask) && !ask);
    session.rx.seq++;
    ck_assert(tls_record_update_due(&session, &ask) && ask);
    ck_assert_int_gt(tls_record_update(engine, &session, ask, record), 0);
    ck_assert(!tls_record_update_due(&session, &ask)); /* asked once */
    session.flags |= TLS_UPDATE_OWED;
    ck_assert(tls_record_update_due(&session, &ask) && !ask);
    session.flags |= TLS_SENT_CLOSE;
    ck_assert(!tls_record_update_due(&session, &ask));
    ck_assert(!tls_record_worn_out(&session));
}
END_TEST

/* 2^34 AES blocks, the two of the tag included; ChaCha20 has no such limit. */
START_TEST(keys_of_tls_1_2_wear_out)
{
    struct tls_session peer, session = session_of(_i, &peer);
    uint64_t gcm = session.suite != TLS_CHACHA20_POLY1305;
    bool ask;

    int n = seal(&session, 33);
    ck_assert_int_eq(open_record(&peer, (size_t)n), 33);
    ck_assert_uint_eq(session.tx.u.blocks, gcm * 5);
    ck_assert_uint_eq(peer.rx.u.blocks, gcm * 5);
    session.tx.u.blocks = peer.rx.u.blocks = gcm * ((1ull << 34) - 3);
    ck_assert(!tls_record_worn_out(&session) && !tls_record_worn_out(&peer));
    n = seal(&session, 1);
    ck_assert_int_eq(open_record(&peer, (size_t)n), 1);
    ck_assert_uint_eq(tls_record_worn_out(&session), gcm);
    ck_assert_uint_eq(tls_record_worn_out(&peer), gcm);
    ck_assert(!tls_record_update_due(&session, &ask) && !ask);
    ck_assert_int_eq(tls_record_update(engine, &session, false, record), -TLS_INTERNAL_ERROR);
}
END_TEST

START_TEST(a_sequence_number_is_never_used_twice)
{
    struct tls_session peer, session = session_of(_i, &peer);

    session.tx.seq = peer.rx.seq = UINT64_MAX - 1;
    int n = seal(&session, 4);
    ck_assert_int_eq(open_record(&peer, (size_t)n), 4);
    ck_assert_int_eq(seal(&session, 4), -TLS_INTERNAL_ERROR);
    ck_assert_int_eq(open_record(&peer, (size_t)n), -TLS_INTERNAL_ERROR);
}
END_TEST

START_TEST(nothing_is_sealed_after_an_end_and_nothing_read)
{
    for (int fatal = 0; fatal < 2; fatal++) {
        struct tls_session peer, session = session_of(_i, &peer);
        enum tls_alert alert = fatal ? TLS_BAD_RECORD_MAC : TLS_CLOSE_NOTIFY;
        int n = tls_record_alert(engine, &session, alert, record);
        ck_assert_int_gt(n, 0);
        ck_assert_int_le(n, TLS_CONTROL_MAX);
        ck_assert_int_eq(open_record(&peer, (size_t)n), 2);
        ck_assert_int_eq(dst[0], fatal ? 2 : 1);
        ck_assert_int_eq(tls_record_control(&peer, type, dst, 2),
                         fatal ? -TLS_PEER_ALERT - TLS_BAD_RECORD_MAC : 1);
        ck_assert_int_eq(peer.flags & (TLS_FATAL | TLS_RECV_CLOSE),
                         fatal ? TLS_FATAL : TLS_RECV_CLOSE);
        struct tls_session before = session;
        ck_assert_int_eq(seal(&session, 4), -TLS_INTERNAL_ERROR);
        ck_assert_int_lt(tls_record_alert(engine, &session, TLS_CLOSE_NOTIFY, record), 0);
        ck_assert_uint_eq(session.tx.seq, before.tx.seq);
        n = seal(&before, 4);
        ck_assert_int_eq(tls_record_need(&peer, text, 1), -TLS_UNEXPECTED_MESSAGE);
        /* After a close the other direction still lives (RFC 8446 6.1). */
        if (!fatal)
            ck_assert_int_gt(tls_record_seal(engine, &peer, TLS_APPLICATION, text, 4, record), 0);
    }
}
END_TEST

START_TEST(tickets_of_all_sizes_are_passed_over_by_a_client)
{
    static const size_t sizes[] = {0, 1, 200, 16380, 65535, 131338};
    static const size_t pieces[] = {1, 3, 4, 5, 1000, 16384};
    static uint8_t message[4 + 131339 + 5];

    for (size_t i = 0; i < ARRAY_LEN(sizes) * ARRAY_LEN(pieces); i++) {
        size_t size = sizes[i / ARRAY_LEN(pieces)], piece = pieces[i % ARRAY_LEN(pieces)];
        struct tls_session peer, session = session_of(0, &peer);
        message[0] = 4;
        message[1] = (uint8_t)(size >> 16);
        message[2] = (uint8_t)(size >> 8);
        message[3] = (uint8_t)size;
        memcpy(message + 4 + size, "\x18\0\0\1", 5);
        size_t n = 4 + size + 5;
        for (size_t at = 0; at < n; at += piece) {
            size_t part = n - at < piece ? n - at : piece;
            int rc = tls_record_control(&session, TLS_HANDSHAKE, message + at, part);
            quiet_assert(rc == 0, "%zu in pieces of %zu: %d at %zu", size, piece, rc, at);
        }
        ck_assert_uint_eq(session.rx.updates, 1); /* the KeyUpdate behind it was seen */
        ck_assert_uint_eq(session.hs_len + session.hs_skip, 0);
        ck_assert_int_eq(tls_record_control(&peer, TLS_HANDSHAKE, message, 4),
                         -TLS_UNEXPECTED_MESSAGE);
    }
    struct tls_session peer, session = session_of(0, &peer);
    ck_assert_int_eq(tls_record_control(&session, TLS_HANDSHAKE, (const uint8_t *)"\4\2\1\x0b", 4),
                     -TLS_ILLEGAL_PARAMETER);
}
END_TEST

/* What a successor does: the same session and bytes, another engine, of another kind even. */
START_TEST(the_same_session_gives_the_same_bytes_in_another_engine)
{
    static uint8_t again[TLS_RECORD_MAX], opened[TLS_RECORD_MAX];
    struct tls_session peer, session = session_of(_i, &peer), copy, peer_copy;

    for (size_t n = 0; n <= TLS_PLAIN_MAX; n += n < 300 ? 1 : n / 2) {
        copy = session;
        peer_copy = peer;
        int whole = seal(&session, n);
        ck_assert_int_eq(tls_record_seal(other, &copy, TLS_APPLICATION, text, n, again), whole);
        ck_assert_mem_eq(record, again, (size_t)whole);
        ck_assert(same(&session, &copy));
        ck_assert_int_eq(open_record(&peer, (size_t)whole), (int)n);
        ck_assert_int_eq(tls_record_open(other, &peer_copy, record, (size_t)whole, opened, &type),
                         (int)n);
        ck_assert_mem_eq(dst, opened, n);
        ck_assert(same(&peer, &peer_copy));
    }
}
END_TEST

START_TEST(many_sessions_share_an_engine)
{
    enum { MANY = 60 };
    struct tls_session sessions[MANY], peers[MANY];

    for (int i = 0; i < MANY; i++) {
        sessions[i] = tls_forge_session(i % 2 ? TLS_1_3 : TLS_1_2,
                                        (enum tls_suite)(TLS_AES_128_GCM + i % 3), (uint8_t)i);
        peers[i] = tls_forge_mirror(&sessions[i]);
    }
    for (int step = 0; step < MANY * 40; step++) {
        int i = step * 7 % MANY;
        int n = seal(&sessions[i], (size_t)step % 300 + 1);
        ck_assert_int_eq(open_record(&peers[i], (size_t)n), step % 300 + 1);
        if (step % 11 == 0)
            tls_engine_forget(engine, &sessions[i]);
    }
}
END_TEST

START_TEST(a_session_that_makes_no_sense_is_refused)
{
    struct tls_session peer, session = session_of(0, &peer), empty = {0};

    int n = seal(&session, 5);
    ck_assert_int_eq(tls_record_need(&empty, record, (size_t)n), -TLS_INTERNAL_ERROR);
    ck_assert_int_eq(open_record(&empty, (size_t)n), -TLS_INTERNAL_ERROR);
    ck_assert_int_eq(seal(&empty, 5), -TLS_INTERNAL_ERROR);
    for (int suite = 0; suite < 256; suite++) {
        peer.suite = session.suite = (uint8_t)suite;
        if (suite >= TLS_AES_128_GCM && suite <= TLS_CHACHA20_POLY1305)
            continue;
        n = n < 0 ? n : 5 + 5 + 17;
        ck_assert_int_eq(open_record(&peer, (size_t)n), -TLS_INTERNAL_ERROR);
        ck_assert_int_eq(seal(&session, 5), -TLS_INTERNAL_ERROR);
        tls_engine_forget(engine, &session);
    }
    ck_assert_int_eq(open_record(&peer, (size_t)n - 1), -TLS_INTERNAL_ERROR); /* not whole */
    tls_session_wipe(&peer);
    ck_assert(same(&peer, &empty));
}
END_TEST

static TCase *cases(const char *name, SFun begin)
{
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, begin, tear_down);
    tcase_add_test(tcase, keys_and_records_are_those_of_rfc_8448);
    tcase_add_loop_test(tcase, records_are_byte_for_byte_what_another_implementation_makes, 0,
                        KINDS);
    tcase_add_loop_test(tcase, a_record_with_any_bit_altered_is_refused_and_leaves_nothing, 0,
                        KINDS);
    tcase_add_loop_test(tcase, records_open_once_and_in_their_order, 0, KINDS);
    tcase_add_loop_test(tcase, a_record_is_known_by_its_first_five_bytes, 0, KINDS);
    tcase_add_loop_test(tcase, padding_is_taken_off, 0, 3);
    tcase_add_loop_test(tcase, a_fragment_length_holds_for_what_comes_too, 0, KINDS);
    tcase_add_loop_test(tcase, a_key_update_may_be_cut_in_any_way, 0, 3);
    tcase_add_loop_test(tcase, our_key_updates_are_followed_and_answered, 0, 3);
    tcase_add_loop_test(tcase, keys_of_tls_1_3_are_changed_in_time, 0, 3);
    tcase_add_loop_test(tcase, keys_of_tls_1_2_wear_out, 3, KINDS);
    tcase_add_loop_test(tcase, a_sequence_number_is_never_used_twice, 0, KINDS);
    tcase_add_loop_test(tcase, nothing_is_sealed_after_an_end_and_nothing_read, 0, KINDS);
    tcase_add_test(tcase, tickets_of_all_sizes_are_passed_over_by_a_client);
    tcase_add_loop_test(tcase, the_same_session_gives_the_same_bytes_in_another_engine, 0, KINDS);
    tcase_add_test(tcase, many_sessions_share_an_engine);
    tcase_add_test(tcase, a_session_that_makes_no_sense_is_refused);
    return tcase;
}

int main(void)
{
    if (crypto_memory_init() < 0)
        return EXIT_FAILURE;
    Suite *suite = suite_create("tls_record");
    suite_add_tcase(suite, cases("best", set_up));
    suite_add_tcase(suite, cases("evp", set_up_evp));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
