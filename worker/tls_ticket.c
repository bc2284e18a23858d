/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/tls_ticket.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

/* What the callback may answer (SSL_CTX_set_tlsext_ticket_key_evp_cb). */
enum { TICKET_ERROR = -1, TICKET_NONE = 0, TICKET_FINE = 1, TICKET_RENEW = 2 };

/* Where a context keeps the ticket keys: a number of the library's, the same for the process's life. */
static int place(void)
{
    static int number = -1;
    if (number < 0)
        number = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return number;
}

static bool use_key(const struct ticket_key *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                    EVP_MAC_CTX *mac, int encrypt)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->hmac,
                                          sizeof key->hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, encrypt) == 1;
}

static int seal(const struct ticket_set *set, unsigned char *name, unsigned char *iv,
                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    if (set->count == 0)
        return TICKET_NONE;
    memcpy(name, set->keys[0].name, sizeof set->keys[0].name);
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
        return TICKET_ERROR;
    return use_key(&set->keys[0], iv, cipher, mac, 1) ? TICKET_FINE : TICKET_ERROR;
}

/* A ticket of TLS 1.3 is used once (RFC 8446 C.4): the client gets another one. */
static int open_ticket(const struct ticket_set *set, bool once, const unsigned char *name,
                       const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    for (uint32_t i = 0; i < set->count; i++) {
        const struct ticket_key *key = &set->keys[i];
        if (memcmp(key->name, name, sizeof key->name) != 0)
            continue;
        if (!use_key(key, iv, cipher, mac, 0))
            return TICKET_ERROR;
        return i == 0 && !once ? TICKET_FINE : TICKET_RENEW;
    }
    return TICKET_NONE;
}

/* The keys are copied, for they may change at any time, and wiped at once. */
static int choose_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypt)
{
    const struct tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), place());
    struct ticket_set set;
    tickets_read(tickets, &set);
    bool once = SSL_version(ssl) == TLS1_3_VERSION;
    int rc = encrypt ? seal(&set, name, iv, cipher, mac)
                     : open_ticket(&set, once, name, iv, cipher, mac);
    explicit_bzero(&set, sizeof set);
    return rc;
}

/*
 * A ticket holds the client's certificate, which nobody verifies again. One that has ended since proves
 * nothing: the client has to show what it has today. In TLS 1.3 each visit gives a new ticket, so lifetimes
 * would never end that.
 */
static SSL_TICKET_RETURN judge(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                               size_t name_n, SSL_TICKET_STATUS status, void *argument)
{
    (void)ssl;
    (void)name;
    (void)name_n;
    (void)argument;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    const X509 *shown = SSL_SESSION_get0_peer(session);
    if (shown && X509_cmp_current_time(X509_get0_notAfter(shown)) <= 0)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

int tls_ticket_use(SSL_CTX *context, const struct tickets *tickets)
{
    if (place() < 0 || SSL_CTX_set_ex_data(context, place(), (void *)(uintptr_t)tickets) != 1)
        return -ENOMEM;
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, choose_key);
    return SSL_CTX_set_session_ticket_cb(context, NULL, judge, NULL) == 1 ? 0 : -ENOMEM;
}
