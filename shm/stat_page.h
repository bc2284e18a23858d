/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of holdfast-stat: each fills a report from one look at the board. Observer only. The caller
 * gives an empty report and ends it with stat_report_fini, whatever is returned.
 * All return 0 or -ENOMEM but for ring.
 */
#ifndef SHM_STAT_PAGE_H
#define SHM_STAT_PAGE_H

#include "shm/stat_args.h"
#include "shm/stat_sums.h"
#include "shm/stat_table.h"
#include "shm/stat_view.h"

/* Everything in short. */
int stat_overview(const struct stat_view *view, const struct stat_sums *sums,
                  struct stat_report *report) MUST_CHECK;

/* A row a worker slot, a row a server of an upstream. */
int stat_workers(const struct stat_view *view, const struct stat_sums *sums,
                 struct stat_report *report) MUST_CHECK;
int stat_backends(const struct stat_view *view, const struct stat_sums *sums,
                  struct stat_report *report) MUST_CHECK;

/* A row a certificate of the configuration that is published. */
int stat_certificates(const struct stat_view *view, struct stat_report *report) MUST_CHECK;

/* A row a live tunnel, filtered, sorted and cut by args. */
int stat_tunnels(const struct stat_view *view, const struct stat_args *args,
                 struct stat_report *report) MUST_CHECK;

/* All writers' events in the order of time; of more than args->limit the newest. */
int stat_events(const struct stat_view *view, const struct stat_args *args,
                struct stat_report *report) MUST_CHECK;

/*
 * Where a key goes on an upstream's ring. Returns 0, -ENOMEM, or with the reason as a sentence in
 * `why`: -ENOENT (no such upstream, or it does not hash), -EINVAL (several hash: say which),
 * -ESTALE (the ring was being replaced).
 */
int stat_ring(const struct stat_view *view, const struct stat_args *args,
              struct stat_report *report, char why[STAT_WHY_SIZE]) MUST_CHECK;

/* Notes that every page bears: a master that is gone or silent, last words of workers. */
void stat_notes(const struct stat_view *view, struct stat_report *report);

#endif
