/* SPDX-License-Identifier: Apache-2.0 */
#include "common/gcm.h"

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { COPIED_MAX = 2048 }; /* up to here a copy is cheaper than a message in parts */

/* What the library has chosen for keys of one size. */
struct code {
    aes_gcm_pre_t expand;
    aes_gcm_enc_dec_t seal;
    aes_gcm_enc_dec_t open;
    aes_gcm_init_t begin;
    aes_gcm_enc_dec_update_t seal_part;
    aes_gcm_enc_dec_finalize_t seal_end;
};

struct gcm_key {
    ALIGNED(CACHE_LINE) struct gcm_key_data expanded;
    struct gcm_context_data context;
    const struct code *code;
};

static struct code code_128, code_256;

/* The manager is only asked for its functions: a megabyte of queues, for which we have no use. */
static bool take_code(const IMB_MGR *manager)
{
    const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;

    if ((manager->features & needed) != needed || manager->features & IMB_FEATURE_AESNI_EMU)
        return false;
    code_128 = (struct code){manager->gcm128_pre,        manager->gcm128_enc,
                             manager->gcm128_dec,        manager->gcm128_init,
                             manager->gcm128_enc_update, manager->gcm128_enc_finalize};
    code_256 = (struct code){manager->gcm256_pre,        manager->gcm256_enc,
                             manager->gcm256_dec,        manager->gcm256_init,
                             manager->gcm256_enc_update, manager->gcm256_enc_finalize};
    return true;
}

/* The widest that kernel and CPU allow: the library would ask the CPU only, the compiler asks both. */
static void choose_code(IMB_MGR *manager)
{
    if (__builtin_cpu_supports("avx512f"))
        init_mb_mgr_auto(manager, NULL);
    else if (__builtin_cpu_supports("avx2"))
        init_mb_mgr_avx2(manager);
    else if (__builtin_cpu_supports("avx"))
        init_mb_mgr_avx(manager);
    else
        init_mb_mgr_sse(manager);
}

bool gcm_init(void)
{
    static bool done, usable;

    if (done)
        return usable;
    IMB_MGR *manager = alloc_mb_mgr(0);
    if (!manager)
        return false; /* of memory: the next call may have more luck */
    choose_code(manager);
    usable = imb_get_errno(manager) == 0 && take_code(manager); /* it has tested itself, too */
    free_mb_mgr(manager);
    done = true;
    return usable;
}

struct gcm_key *gcm_key_new(void)
{
    struct gcm_key *key = aligned_alloc(_Alignof(struct gcm_key), sizeof *key);

    if (key)
        memset(key, 0, sizeof *key);
    return key;
}

void gcm_key_free(struct gcm_key **key)
{
    if (*key)
        gcm_key_wipe(*key);
    free(*key);
    *key = NULL;
}

void gcm_key_set(struct gcm_key *key, const uint8_t *bytes, size_t n)
{
    ASSERT(n == 16 || n == 32);
    key->code = n == 16 ? &code_128 : &code_256;
    key->code->expand(bytes, &key->expanded);
}

void gcm_key_wipe(struct gcm_key *key)
{
    OPENSSL_cleanse(key, sizeof *key);
}

void gcm_seal(struct gcm_key *key, const struct gcm_about *about, struct slice text,
              const uint8_t *last, uint8_t *out)
{
    const struct code *code = key->code;
    const uint8_t *in = (const uint8_t *)text.p;
    size_t n = text.n;

    if (last && n > COPIED_MAX) {
        code->begin(&key->expanded, &key->context, about->nonce, about->extra, about->extra_size);
        code->seal_part(&key->expanded, &key->context, out, in, n);
        code->seal_part(&key->expanded, &key->context, out + n, last, 1);
        code->seal_end(&key->expanded, &key->context, out + n + 1, GCM_TAG);
        return;
    }
    if (last) {
        memcpy(out, in, n);
        out[n] = *last;
        in = out;
        n++;
    }
    code->seal(&key->expanded, &key->context, out, in, n, about->nonce, about->extra,
               about->extra_size, out + n, GCM_TAG);
}

bool gcm_open(struct gcm_key *key, const struct gcm_about *about, const uint8_t *text, size_t n,
              uint8_t *out)
{
    uint8_t tag[GCM_TAG];

    key->code->open(&key->expanded, &key->context, out, text, n, about->nonce, about->extra,
                    about->extra_size, tag, GCM_TAG);
    return CRYPTO_memcmp(tag, text + n, GCM_TAG) == 0;
}
