/* SPDX-License-Identifier: Apache-2.0 */
#include "common/sha1.h"

#include <errno.h>
#include <openssl/evp.h>

/* Looking an algorithm up costs more than a digest (locks, a table of names), so it is kept. */
static EVP_MD_CTX *context;

int sha1_init(void)
{
    if (context)
        return 0;
    EVP_MD_CTX *fresh = EVP_MD_CTX_new();
    if (!fresh)
        return -ENOMEM;
    EVP_MD *sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    int ok = sha1 && EVP_DigestInit_ex2(fresh, sha1, NULL) == 1;
    EVP_MD_free(sha1); /* the context holds it */
    if (!ok) {
        EVP_MD_CTX_free(fresh);
        return -ENOTSUP;
    }
    context = fresh;
    return 0;
}

void sha1_of(struct slice a, struct slice b, uint8_t out[SHA1_LEN])
{
    ASSERT(sha1_init() == 0);
    int ok = EVP_DigestInit_ex2(context, NULL, NULL) == 1 &&
             EVP_DigestUpdate(context, a.p, a.n) == 1 && EVP_DigestUpdate(context, b.p, b.n) == 1 &&
             EVP_DigestFinal_ex(context, out, NULL) == 1;
    ASSERT(ok);
}
