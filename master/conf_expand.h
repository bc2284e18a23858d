/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers of a configuration with names resolved: every address is a server of its own, with
 * counters and health of its own. Master only.
 */
#ifndef MASTER_CONF_EXPAND_H
#define MASTER_CONF_EXPAND_H

#include "master/conf.h"

struct conf_expanded {
    const struct conf_server *from;
    struct addr address;
    char text[BOARD_SERVER_MAX]; /* its name on the board: as written, or the resolved address */
    /*
     * What the ring hashes. A name with one address stands on the ring as written, as in nginx, so that
     * its keys stay when the address changes; of one with several each address has points of its own.
     */
    const char *ring;
    uint32_t weight;
    bool backup;
};

struct conf_expansion {
    struct conf_expanded *servers; /* owned; an upstream's are a run */
    uint32_t count;
    uint32_t *first; /* owned: by upstream, and one behind the last */
};

/*
 * By what `names` knows (conf->names): a name without an answer yet is no server. An address that an
 * upstream has twice is one server. On 0 the caller ends *out with _fini. Returns 0 or -ENOMEM.
 */
int conf_expand(const struct conf *conf, struct conf_expansion *out) MUST_CHECK;
void conf_expand_fini(struct conf_expansion *expansion);

#endif
