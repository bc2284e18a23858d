/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL finds all that it works with by name, and goes through all names that a library context knows
 * ten times a handshake, whenever it makes a context for a key. The usual one knows 405, more than half of
 * them of ciphers that TLS has no use for. So handshakes have a library context of their own, whose one
 * provider hands on what OpenSSL's offers, with few ciphers and with HMAC and key derivation by us.
 */
#include "worker/tls_parts.h"

#include <openssl/core_dispatch.h>
#include <openssl/err.h>
#include <openssl/provider.h>

/* OpenSSL's own, in the usual library context: theirs is the code, and the state, of all that ours offers. */
static OSSL_PROVIDER *theirs; /* never unloaded */

/* ---- what there is ---- */

enum { OFFERED_MAX = 8 };

/* What is left of an operation's algorithms, and the end. */
struct offered {
    OSSL_ALGORITHM algorithms[OFFERED_MAX + 1];
    size_t count;
};

static struct offered ciphers, derivations, macs;

/* An algorithm's first name; others follow after colons. */
static bool is_called(const OSSL_ALGORITHM *algorithm, const char *name)
{
    size_t n = strlen(name);
    return strncmp(algorithm->algorithm_names, name, n) == 0 &&
           (algorithm->algorithm_names[n] == ':' || algorithm->algorithm_names[n] == '\0');
}

static void offer(struct offered *offered, const OSSL_ALGORITHM *algorithm)
{
    ASSERT(offered->count < OFFERED_MAX);
    offered->algorithms[offered->count++] = *algorithm;
}

/* Of an operation of theirs, what bears one of these names (NULL ends them). */
static void offer_some(struct offered *offered, int operation, const char *const names[])
{
    int no_cache;
    const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(theirs, operation, &no_cache);
    for (; all && all->algorithm_names; all++) {
        for (size_t i = 0; names[i]; i++) {
            if (is_called(all, names[i]))
                offer(offered, all);
        }
    }
}

static void choose(void)
{
    /* Those of the record layer; and that of tickets where nobody has set keys for them. */
    static const char *const of_tls[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305",
                                         "AES-256-CBC", NULL};
    static const char *const of_tls_1_2[] = {"TLS1-PRF", NULL};
    ciphers.count = derivations.count = macs.count = 0;
    offer_some(&ciphers, OSSL_OP_CIPHER, of_tls);
    offer_some(&derivations, OSSL_OP_KDF, of_tls_1_2);
    offer(&derivations, &tls_kdf);
    offer(&macs, &tls_mac);
}

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
    (void)provider;
    *no_cache = 0;
    if (operation == OSSL_OP_CIPHER)
        return ciphers.algorithms;
    if (operation == OSSL_OP_KDF)
        return derivations.algorithms;
    if (operation == OSSL_OP_MAC)
        return macs.algorithms;
    return OSSL_PROVIDER_query_operation(theirs, operation, no_cache);
}

/* The groups for key exchange. */
static int get_capabilities(void *provider, const char *capability, OSSL_CALLBACK *tell,
                            void *argument)
{
    (void)provider;
    return OSSL_PROVIDER_get_capabilities(theirs, capability, tell, argument);
}

static int begin_provider(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in,
                          const OSSL_DISPATCH **out, void **context)
{
    static const OSSL_DISPATCH of_provider[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))get_capabilities},
        {0, NULL},
    };
    (void)core;
    (void)in;
    *out = of_provider;
    *context = OSSL_PROVIDER_get0_provider_ctx(theirs); /* what their functions are given */
    return 1;
}

struct ossl_lib_ctx_st *tls_library(void)
{
    static OSSL_LIB_CTX *library; /* never freed */
    if (library)
        return library;
    OSSL_LIB_CTX *made = NULL;
    if (!theirs)
        theirs = OSSL_PROVIDER_load(NULL, "default");
    if (theirs)
        made = OSSL_LIB_CTX_new();
    if (made) {
        choose();
        if (OSSL_PROVIDER_add_builtin(made, "holdfast", begin_provider) == 1 &&
            OSSL_PROVIDER_load(made, "holdfast"))
            library = made;
        else
            OSSL_LIB_CTX_free(made);
    }
    ERR_clear_error();
    return library;
}
