/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tls_why.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <string.h>

/* What the peer has told us. */
static const char *alert_words(unsigned long error)
{
    const char *words = SSL_alert_desc_string_long(ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET);
    if (strcmp(words, "unknown") != 0)
        return words;
    /* Alerts of TLS 1.3: there are words only for the error, "tlsv13 alert certificate required". */
    const char *reason = ERR_reason_error_string(error);
    const char *alert = reason ? strstr(reason, " alert ") : NULL;
    return alert ? alert + strlen(" alert ") : reason;
}

const char *tls_why_failed(SSL *ssl)
{
    unsigned long error = ERR_peek_error(); /* the first is the cause, the rest its consequences */
    int reason = ERR_GET_REASON(error);
    const char *words = NULL;

    if (error == 0)
        words = SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN ? "closed by the peer" : NULL;
    else if (ERR_GET_LIB(error) != ERR_LIB_SSL)
        words = ERR_reason_error_string(error);
    else if (reason > SSL_AD_REASON_OFFSET)
        words = alert_words(error);
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        words = X509_verify_cert_error_string(SSL_get_verify_result(ssl));
    else
        words = ERR_reason_error_string(error);
    ERR_clear_error();
    return words ? words : "the handshake failed";
}
