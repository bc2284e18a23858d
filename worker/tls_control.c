/* SPDX-License-Identifier: Apache-2.0 */
/* Records that carry no application data: alerts (RFC 8446 6, RFC 5246 7.2), messages after the handshake. */
#include "worker/tls_parts.h"

enum {
    HELLO_REQUEST = 0, /* TLS 1.2 */
    MESSAGE_HEADER = 4,
    KEY_UPDATE_SIZE = MESSAGE_HEADER + 1,
    TICKET_MAX = 4 + 4 + 1 + 255 + 2 + 65535 + 2 + 65535, /* RFC 8446 4.6.1, all fields full */
    WARN_RUN_MAX = 5,
    MESSAGE_RUN_MAX = 32,
};

/* An alert that ends nothing. A few are borne. */
static int warned(struct tls_session *session)
{
    return ++session->warn_run >= WARN_RUN_MAX ? -TLS_UNEXPECTED_MESSAGE : 0;
}

static int take_alert(struct tls_session *session, const uint8_t *p, size_t n)
{
    enum { WARNING = 1, FATAL = 2 };

    if (n != 2)
        return -TLS_UNEXPECTED_MESSAGE;
    uint8_t level = p[0], description = p[1];
    if (description == TLS_CLOSE_NOTIFY) {
        session->flags |= TLS_RECV_CLOSE;
        return 1;
    }
    /* In TLS 1.3 the level means nothing. */
    if (session->version == TLS_1_3 ? description == TLS_USER_CANCELED : level == WARNING)
        return warned(session);
    if (session->version != TLS_1_3 && level != FATAL)
        return -TLS_ILLEGAL_PARAMETER;
    session->flags |= TLS_FATAL;
    return -TLS_PEER_ALERT - description;
}

/* The header of a message is complete. */
static int take_header(struct tls_session *session)
{
    uint32_t size = (uint32_t)(session->hs[1] << 16 | session->hs[2] << 8 | session->hs[3]);

    if (session->hs[0] == TLS_KEY_UPDATE)
        return size == 1 ? 0 : -TLS_DECODE_ERROR;
    if (size > TICKET_MAX)
        return -TLS_ILLEGAL_PARAMETER;
    if (++session->update_run > MESSAGE_RUN_MAX)
        return -TLS_UNEXPECTED_MESSAGE;
    session->hs_skip = size;
    session->hs_len = 0;
    return 0;
}

static int take_key_update(struct tls_session *session, bool is_last)
{
    uint8_t request = session->hs[MESSAGE_HEADER];

    session->hs_len = 0;
    if (request > 1)
        return -TLS_ILLEGAL_PARAMETER;
    if (!is_last) /* what follows is under other keys, so in another record (RFC 8446 5.1) */
        return -TLS_UNEXPECTED_MESSAGE;
    if (++session->update_run > MESSAGE_RUN_MAX)
        return -TLS_UNEXPECTED_MESSAGE;
    if (request)
        session->flags |= TLS_UPDATE_OWED;
    session->flags &= (uint8_t)~TLS_UPDATE_ASKED;
    tls_keys_update(session->suite, &session->rx);
    return 0;
}

/* One byte more of a message. */
static int take_byte(struct tls_session *session, uint8_t byte, bool is_last)
{
    ASSERT(session->hs_len < sizeof session->hs);
    session->hs[session->hs_len++] = byte;
    switch (session->hs_len) {
    case 1:
        if (byte == TLS_KEY_UPDATE ||
            (byte == TLS_NEW_SESSION_TICKET && session->flags & TLS_CLIENT_ROLE))
            return 0;
        return -TLS_UNEXPECTED_MESSAGE;
    case MESSAGE_HEADER: return take_header(session);
    case KEY_UPDATE_SIZE: return take_key_update(session, is_last);
    default: return 0;
    }
}

/* Messages may be cut over records as the peer likes, or stand several in one (RFC 8446 5.1). */
static int take_messages(struct tls_session *session, const uint8_t *p, size_t n)
{
    int rc = 0;

    while (rc == 0 && n > 0) {
        size_t step = 1;
        if (session->hs_skip > 0) {
            step = n < session->hs_skip ? n : session->hs_skip;
            session->hs_skip -= (uint32_t)step;
        } else {
            rc = take_byte(session, *p, n == 1);
        }
        p += step;
        n -= step;
    }
    return rc;
}

/* TLS 1.2: no second handshake. A client may pass over the wish for one (RFC 5246 7.4.1.1). */
static int take_message_12(struct tls_session *session, const uint8_t *p, size_t n)
{
    static const uint8_t hello_request[MESSAGE_HEADER] = {HELLO_REQUEST};

    if (session->flags & TLS_CLIENT_ROLE && n == sizeof hello_request &&
        memcmp(p, hello_request, n) == 0)
        return ++session->update_run > MESSAGE_RUN_MAX ? -TLS_UNEXPECTED_MESSAGE : 0;
    return -TLS_UNEXPECTED_MESSAGE;
}

int tls_record_control(struct tls_session *session, enum tls_record_type type, const uint8_t *p,
                       size_t n)
{
    switch (type) {
    case TLS_ALERT: return take_alert(session, p, n);
    case TLS_HANDSHAKE:
        return session->version == TLS_1_3 ? take_messages(session, p, n)
                                           : take_message_12(session, p, n);
    case TLS_APPLICATION: break;
    }
    return -TLS_UNEXPECTED_MESSAGE;
}
