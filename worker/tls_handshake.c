/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_parts.h"

#include "common/tls_client.h"
#include "common/tls_why.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

enum {
    RECORD_MAX = TLS_RECORD_HEADER + TLS_PLAIN_MAX + 256,
    /* A certificate chain may have 100 KB in OpenSSL, and a client may cut it into 512 bytes each. */
    RECORDS_MAX = 256,
    TICKETS_MAX = 2, /* of which the last is kept: OpenSSL's servers send two */
    FIRST_TYPE = TLS_CHANGE_CIPHER_SPEC,
    LAST_TYPE = TLS_APPLICATION,
};

/* Counts records under the keys of application data: in TLS 1.3 tickets, in TLS 1.2 Finished. */
static void on_message(int is_write, int version, int content_type, const void *bytes, size_t n,
                       SSL *ssl, void *argument)
{
    struct tls_handshake *handshake = argument;
    struct tls_leak *leak = is_write ? &handshake->tx : &handshake->rx;

    (void)version;
    if (content_type != SSL3_RT_HEADER || n < TLS_RECORD_HEADER)
        return;
    uint8_t type = *(const uint8_t *)bytes;
    if (SSL_version(ssl) == TLS1_3_VERSION)
        leak->records += type == TLS_APPLICATION && leak->secret_size > 0;
    else if (type == TLS_CHANGE_CIPHER_SPEC)
        leak->changed = true;
    else
        leak->records += leak->changed;
}

/*
 * Nobody looks a session up by its number: 32 random bytes in each ticket would be for nothing. It is told
 * nobody either, since there is no cache: a client that met it again would take its session for resumed.
 */
static int number_session(SSL *ssl, unsigned char *number, unsigned int *size)
{
    (void)ssl;
    number[0] = 0;
    *size = 1;
    return 1;
}

static void prepare(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_clear_options(context, SSL_OP_ENABLE_KTLS);
    SSL_CTX_clear_mode(context, SSL_MODE_ASYNC);
    SSL_CTX_set_read_ahead(context, 0); /* it would read behind the record that it was given */
    SSL_CTX_set_max_early_data(context, 0);
    SSL_CTX_set_post_handshake_auth(context, 0);
    SSL_CTX_set_num_tickets(context, 1);
    /* Sessions live in tickets, or with whoever has asked for them. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_generate_session_id(context, number_session);
}

struct ssl_ctx_st *tls_handshake_context(const struct ssl_method_st *method)
{
    OSSL_LIB_CTX *library = tls_library();
    SSL_CTX *context = library ? SSL_CTX_new_ex(library, NULL, method) : NULL;
    if (context)
        prepare(context);
    return context;
}

static struct tls_handshake *start(SSL_CTX *context, bool client)
{
    struct tls_handshake *handshake = calloc(1, sizeof *handshake);
    if (!handshake)
        return NULL;
    handshake->client = client;
    handshake->ssl = SSL_new(context);
    handshake->input = BIO_new(BIO_s_mem());
    handshake->output = BIO_new(BIO_s_mem());
    if (!handshake->ssl || !handshake->input || !handshake->output) {
        BIO_free(handshake->input);
        tls_handshake_free(&handshake);
        return NULL;
    }
    BIO_set_mem_eof_return(handshake->input, -1); /* no more yet; not the end */
    BIO_up_ref(handshake->output);
    SSL_set_bio(handshake->ssl, handshake->input, handshake->output);
    SSL_set_msg_callback(handshake->ssl, on_message);
    SSL_set_msg_callback_arg(handshake->ssl, handshake);
    return handshake;
}

struct tls_handshake *tls_handshake_accept(struct ssl_ctx_st *context)
{
    struct tls_handshake *handshake = start(context, false);

    if (handshake)
        SSL_set_accept_state(handshake->ssl);
    ERR_clear_error();
    return handshake;
}

struct tls_handshake *tls_handshake_connect(struct ssl_ctx_st *context, const char *server_name,
                                            struct ssl_session_st *session)
{
    struct tls_handshake *handshake = start(context, true);

    if (handshake) {
        SSL_set_connect_state(handshake->ssl);
        if ((server_name && !tls_client_set_name(handshake->ssl, server_name)) ||
            (session && SSL_set_session(handshake->ssl, session) != 1))
            tls_handshake_free(&handshake);
    }
    ERR_clear_error();
    return handshake;
}

void tls_handshake_look_away(struct tls_handshake *handshake)
{
    SSL_set_msg_callback(handshake->ssl, NULL);
    OPENSSL_cleanse(&handshake->rx, sizeof handshake->rx);
    OPENSSL_cleanse(&handshake->tx, sizeof handshake->tx);
}

void tls_handshake_drop(struct tls_handshake *handshake)
{
    if (!handshake->ssl)
        return;
    tls_handshake_look_away(handshake);
    /* As if both sides had closed: else the session could not be resumed. */
    SSL_set_shutdown(handshake->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(handshake->ssl);
    handshake->ssl = NULL;
    handshake->input = NULL;
    ERR_clear_error();
}

void tls_handshake_free(struct tls_handshake **handshake)
{
    if (!*handshake)
        return;
    tls_handshake_drop(*handshake);
    BIO_free((*handshake)->output);
    SSL_SESSION_free((*handshake)->session);
    OPENSSL_cleanse(*handshake, sizeof **handshake);
    free(*handshake);
    *handshake = NULL;
}

int tls_handshake_need(const struct tls_handshake *handshake, const uint8_t *p, size_t n)
{
    enum { MAJOR = 3 }; /* of SSL 3.0 and all since */

    if (n < 1)
        return 0;
    bool is_first = handshake->records == 0 && !handshake->client;
    if (is_first ? p[0] != TLS_HANDSHAKE : p[0] < FIRST_TYPE || p[0] > LAST_TYPE)
        return -EPROTONOSUPPORT;
    if (n >= 2 && p[1] != MAJOR)
        return -EPROTONOSUPPORT;
    if (n < TLS_RECORD_HEADER)
        return 0;
    int whole = TLS_RECORD_HEADER + (p[3] << 8 | p[4]);
    return whole > RECORD_MAX ? -EMSGSIZE : whole;
}

int tls_handshake_feed(struct tls_handshake *handshake, const uint8_t *record, size_t n,
                       const char **why)
{
    ASSERT(handshake->ssl && !handshake->done && n <= RECORD_MAX);
    ERR_clear_error();
    if (n > 0 && ++handshake->records > RECORDS_MAX) {
        *why = "too many records";
        return -EPROTO;
    }
    if (n > 0 && BIO_write(handshake->input, record, (int)n) != (int)n) {
        *why = tls_why_failed(handshake->ssl);
        return -EPROTO;
    }
    tls_kdf_tell(handshake);
    int rc = SSL_do_handshake(handshake->ssl);
    tls_kdf_tell(NULL);
    int error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(handshake->ssl, rc);
    if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ) {
        *why = tls_why_failed(handshake->ssl);
        return -EPROTO;
    }
    ERR_clear_error(); /* what OpenSSL has tried, and done without */
    if (BIO_ctrl_pending(handshake->input) > 0) {
        *why = "bytes behind the record";
        return -EPROTO;
    }
    handshake->done = error == SSL_ERROR_NONE;
    return handshake->done;
}

struct slice tls_handshake_output(const struct tls_handshake *handshake)
{
    char *bytes;
    long n = BIO_get_mem_data(handshake->output, &bytes);

    ASSERT(n >= 0 && (size_t)n >= handshake->sent);
    return (struct slice){bytes + handshake->sent, (size_t)n - handshake->sent};
}

void tls_handshake_sent(struct tls_handshake *handshake, size_t n)
{
    ASSERT(n <= tls_handshake_output(handshake).n);
    handshake->sent += n;
}

bool tls_handshake_awaits_ticket(const struct tls_handshake *handshake)
{
    return handshake->exported && handshake->ssl;
}

/* Let OpenSSL read one record more. True: it has understood all of it, and found no content. */
static bool read_late(struct tls_handshake *handshake, const uint8_t *record, size_t n)
{
    uint8_t content;

    if (BIO_write(handshake->input, record, (int)n) != (int)n)
        return false;
    int rc = SSL_read(handshake->ssl, &content, 1);
    tls_hmac_forget(); /* the ticket's secret was derived */
    return SSL_get_error(handshake->ssl, rc) == SSL_ERROR_WANT_READ;
}

bool tls_handshake_ticket(struct tls_handshake *handshake, const uint8_t *record, size_t n)
{
    ASSERT(tls_handshake_awaits_ticket(handshake) && n > 0 && n <= TLS_RECORD_MAX);
    ERR_clear_error();
    SSL_SESSION *before = SSL_get1_session(handshake->ssl);
    bool more = read_late(handshake, record, n);
    if (more && SSL_get0_session(handshake->ssl) != before) { /* a ticket makes a new one */
        SSL_SESSION_free(handshake->session);
        handshake->session = SSL_get1_session(handshake->ssl);
        more = ++handshake->tickets < TICKETS_MAX;
    }
    SSL_SESSION_free(before);
    if (!more)
        tls_handshake_drop(handshake);
    ERR_clear_error();
    return more;
}

struct ssl_session_st *tls_handshake_take_session(struct tls_handshake *handshake)
{
    SSL_SESSION *session = handshake->session;

    handshake->session = NULL;
    return session;
}
