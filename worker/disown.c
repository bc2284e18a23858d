/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/disown.h"

#include "worker/conn_tls.h"
#include "worker/request.h"
#include "worker/tls_context.h"
#include "worker/tls_record.h"
#include "worker/tls_resume.h"

#include <sys/mman.h>

/* Each holds the certificates that it came by. */
static void disown_connections(struct worker *w)
{
    for (uint32_t place = 0; place < w->places_used; place++) {
        struct conn *conn = w->conns[place];
        if (!conn)
            continue;
        conn_tls_free(conn);
        struct request *request =
            conn->kind == CONN_CLIENT ? ((struct client *)conn)->request : NULL;
        if (request)
            tls_contexts_release(&request->tls);
    }
}

void disown_secrets(void *worker)
{
    struct worker *w = worker;
    disown_connections(w);
    tls_resume_free(&w->resume);
    tls_contexts_release(&w->tls);
    tls_engine_free(&w->tls_engine);
    (void)munmap(w->vault.header, w->vault.header->size);
}
