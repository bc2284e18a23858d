/* SPDX-License-Identifier: Apache-2.0 */
/* Session tickets under the keys that all workers share (shm/tickets.h). Worker only. */
#ifndef WORKER_TLS_TICKET_H
#define WORKER_TLS_TICKET_H

#include "common/compiler.h"
#include "shm/tickets.h"

#include <openssl/ssl.h>

/*
 * Let a server's context make and open its tickets so, but none whose client's certificate has ended.
 * `tickets` is borrowed for the context's life.
 * Returns 0 or -ENOMEM.
 */
int tls_ticket_use(SSL_CTX *context, const struct tickets *tickets) MUST_CHECK;

#endif
