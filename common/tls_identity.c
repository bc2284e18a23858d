/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tls_identity.h"

#include <errno.h>
#include <openssl/x509.h>
#include <stdbool.h>

/* The next certificate of a run of DER, cut off it; NULL at the end or if it is none. */
static X509 *next_certificate(struct slice *rest)
{
    const unsigned char *at = (const unsigned char *)rest->p;
    X509 *x = rest->n > 0 ? d2i_X509(NULL, &at, (long)rest->n) : NULL;
    if (!x)
        return NULL;
    size_t used = (size_t)((const char *)at - rest->p);
    *rest = (struct slice){rest->p + used, rest->n - used};
    return x;
}

static int read_chain(struct tls_identity *out, struct slice der)
{
    out->own = next_certificate(&der);
    out->chain = sk_X509_new_null();
    if (!out->own || !out->chain)
        return -EBADMSG;
    for (X509 *x; (x = next_certificate(&der)) != NULL;) {
        if (sk_X509_push(out->chain, x) > 0)
            continue;
        X509_free(x);
        return -EBADMSG;
    }
    return der.n == 0 ? 0 : -EBADMSG;
}

int tls_identity_read(struct tls_identity *out, struct slice chain, struct slice key)
{
    const unsigned char *at = (const unsigned char *)key.p;
    *out = (struct tls_identity){NULL, NULL, NULL};
    int rc = read_chain(out, chain);
    if (rc == 0 && key.n > 0)
        out->key = d2i_AutoPrivateKey(NULL, &at, (long)key.n);
    if (rc == 0 && out->key)
        return 0;
    tls_identity_fini(out);
    return -EBADMSG;
}

void tls_identity_fini(struct tls_identity *identity)
{
    X509_free(identity->own);
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
    *identity = (struct tls_identity){NULL, NULL, NULL};
}

static bool trust(X509_STORE *store, X509 *x, STACK_OF(X509_NAME) * names)
{
    X509_NAME *name = names ? X509_NAME_dup(X509_get_subject_name(x)) : NULL;
    bool listed = !names || (name && sk_X509_NAME_push(names, name) > 0);
    if (!listed)
        X509_NAME_free(name);
    return listed && X509_STORE_add_cert(store, x) == 1;
}

X509_STORE *tls_identity_store(struct slice authorities, STACK_OF(X509_NAME) * names)
{
    X509_STORE *store = X509_STORE_new();
    bool fine = store != NULL;
    for (X509 *x; fine && (x = next_certificate(&authorities)) != NULL;) {
        fine = trust(store, x, names);
        X509_free(x); /* the store has a reference of its own */
    }
    if (fine && authorities.n == 0)
        return store;
    X509_STORE_free(store);
    return NULL;
}
