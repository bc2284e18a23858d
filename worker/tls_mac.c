/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HMAC, for the provider of tls_library.c: of Finished messages and tickets. OpenSSL's own looks its hash
 * function up by name and makes three contexts of it: a Finished takes 22,000 instructions with that,
 * 13,000 with this.
 */
#include "worker/tls_parts.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <stdlib.h>

struct mac {
    enum tls_hash hash; /* 0: not said yet */
    struct tls_hmac *under_way;
};

static void *new_mac(void *provider)
{
    (void)provider;
    return calloc(1, sizeof(struct mac));
}

static void free_mac(void *context)
{
    struct mac *mac = context;
    if (mac)
        tls_hmac_free(&mac->under_way);
    free(mac);
}

static int set_key(struct mac *mac, const uint8_t *key, size_t n)
{
    struct tls_secret secret = {mac->hash, key, n};
    tls_hmac_free(&mac->under_way);
    if (mac->hash == 0 || n == 0 || n > TLS_SECRET_MAX)
        return 0;
    mac->under_way = tls_hmac_new(&secret);
    return mac->under_way != NULL;
}

/* Which hash, then which key; where OpenSSL is to look for algorithms does not matter to us. */
static int set_params(void *context, const OSSL_PARAM params[])
{
    struct mac *mac = context;
    const OSSL_PARAM *hash = params ? OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_DIGEST) : NULL;
    const OSSL_PARAM *key = params ? OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_KEY) : NULL;
    if (hash)
        mac->hash = tls_hash_named(hash);
    if (hash && mac->hash == 0)
        return 0;
    return !key || set_key(mac, key->data, key->data_size);
}

/* Without a key: the one that was set as a parameter. */
static int begin(void *context, const unsigned char *key, size_t n, const OSSL_PARAM params[])
{
    struct mac *mac = context;
    if (!set_params(mac, params) || (key && !set_key(mac, key, n)))
        return 0;
    return mac->under_way != NULL;
}

static int update(void *context, const unsigned char *p, size_t n)
{
    struct mac *mac = context;
    if (mac->under_way)
        tls_hmac_feed(mac->under_way, p, n);
    return mac->under_way != NULL;
}

static int finish(void *context, unsigned char *out, size_t *n, size_t room)
{
    struct mac *mac = context;
    if (!mac->under_way || room < (size_t)mac->hash)
        return 0;
    tls_hmac_end(&mac->under_way, out);
    *n = mac->hash;
    return 1;
}

static int get_params(void *context, OSSL_PARAM params[])
{
    const struct mac *mac = context;
    OSSL_PARAM *size = OSSL_PARAM_locate(params, OSSL_MAC_PARAM_SIZE);
    return !size || OSSL_PARAM_set_size_t(size, mac->hash) == 1;
}

static const OSSL_PARAM *settable(void *context, void *provider)
{
    static const OSSL_PARAM all[] = {
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, NULL, 0),
        OSSL_PARAM_END,
    };
    (void)context;
    (void)provider;
    return all;
}

static const OSSL_DISPATCH functions[] = {
    {OSSL_FUNC_MAC_NEWCTX, (void (*)(void))new_mac},
    {OSSL_FUNC_MAC_FREECTX, (void (*)(void))free_mac},
    {OSSL_FUNC_MAC_INIT, (void (*)(void))begin},
    {OSSL_FUNC_MAC_UPDATE, (void (*)(void))update},
    {OSSL_FUNC_MAC_FINAL, (void (*)(void))finish},
    {OSSL_FUNC_MAC_SET_CTX_PARAMS, (void (*)(void))set_params},
    {OSSL_FUNC_MAC_GET_CTX_PARAMS, (void (*)(void))get_params},
    {OSSL_FUNC_MAC_SETTABLE_CTX_PARAMS, (void (*)(void))settable},
    {0, NULL},
};

const OSSL_ALGORITHM tls_mac = {"HMAC", "provider=holdfast", functions, "of SHA-256 and SHA-384"};
