/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cert_type.h"

const char *cert_type_word(uint32_t type)
{
    static const char *const words[CERT_TYPE_COUNT] = {"RSA", "ECDSA", "EdDSA"};
    return type < CERT_TYPE_COUNT ? words[type] : "?";
}
