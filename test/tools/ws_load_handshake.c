/* SPDX-License-Identifier: Apache-2.0 */
#include "test/tools/ws_load_handshake.h"

#include "common/http_head.h"
#include "common/ws_handshake.h"
#include "test/tools/ws_load_io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS_MAX = 64, SWITCHING = 101, SIGNIFICANT = 21 };

/* 16 bytes in base64: 21 characters of any kind, one that ends in 4 zero bits, and "==". */
void ws_load_handshake_key(struct ws_load *load, struct ws_load_conn *conn)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < SIGNIFICANT; i++)
        conn->key[i] = digits[ws_load_random(&load->rng, 0, 63)];
    strcpy(conn->key + SIGNIFICANT, "A==");
}

int ws_load_handshake_send(struct ws_load *load, struct ws_load_conn *conn)
{
    char *text = (char *)load->scratch;
    int n = snprintf(text, sizeof load->scratch,
                     "GET %s HTTP/1.1\r\n"
                     "Host: %s\r\n"
                     "Upgrade: websocket\r\n"
                     "Connection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\n"
                     "Sec-WebSocket-Version: 13\r\n"
                     "\r\n",
                     load->options->path, load->options->host, conn->key);
    ASSERT(n > 0 && (size_t)n < sizeof load->scratch);
    uint32_t len = (uint32_t)n;
    ssize_t sent = ws_load_io_send(load, conn, text + conn->request_sent, len - conn->request_sent);
    if (sent < 0)
        return errno == EAGAIN ? 1 : -errno;
    conn->request_sent += (uint32_t)sent;
    return conn->request_sent < len;
}

int ws_load_handshake_check(const struct ws_load_conn *conn)
{
    struct http_field fields[FIELDS_MAX];
    struct http_head head;
    struct http_limits limits = {WS_LOAD_HEAD_MAX, WS_LOAD_HEAD_MAX, FIELDS_MAX};
    char want[WS_ACCEPT_LEN];

    http_response_init(&head, fields, limits, HTTP_GET);
    int used = http_head_parse(&head, conn->head, conn->head_len);
    if (used <= 0)
        return used == 0 ? 0 : -EPROTO;
    const struct http_field *accept = http_head_find(&head, HTTP_FIELD_SEC_WEBSOCKET_ACCEPT);
    if (head.status != SWITCHING || !accept)
        return -EPROTO;
    ws_accept_for(slice_of(conn->key), want);
    struct slice got = http_field_value(conn->head, accept);
    return slice_eq(got, (struct slice){want, sizeof want}) ? used : -EPROTO;
}
