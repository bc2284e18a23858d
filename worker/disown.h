/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper that a worker has cloned begins with a copy of its memory, and hands it down to its own workers. */
#ifndef WORKER_DISOWN_H
#define WORKER_DISOWN_H

/*
 * In such a keeper, with the worker's struct worker: wipe what must never be seen, keys of connections and
 * of certificates, and let go of the vault. Touches no descriptor: they are the worker's, too.
 */
void disown_secrets(void *worker);

#endif
