/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_show.h"

#include "shm/stat_page.h"

#include <errno.h>

/* The pages that are made of sums; for Prometheus the overview brings the others along. */
static int look_at_sums(const struct stat_view *view, const struct stat_args *args,
                        struct stat_report *report)
{
    bool all = args->form == STAT_PROMETHEUS && args->page == STAT_OVERVIEW;
    struct stat_sums sums;
    int rc = stat_sums_init(&sums, view);
    if (rc < 0)
        return rc;
    if (args->page == STAT_OVERVIEW)
        rc = stat_overview(view, &sums, report);
    if (rc == 0 && (all || args->page == STAT_WORKERS))
        rc = stat_workers(view, &sums, report);
    if (rc == 0 && (all || args->page == STAT_BACKENDS))
        rc = stat_backends(view, &sums, report);
    if (rc == 0 && all)
        rc = stat_certificates(view, report);
    stat_sums_fini(&sums);
    return rc;
}

int stat_show_look(const struct stat_view *view, const struct stat_args *args,
                   struct stat_report *report, char why[STAT_WHY_SIZE])
{
    int rc;
    why[0] = '\0';
    stat_notes(view, report);
    switch (args->page) {
    case STAT_TUNNELS: rc = stat_tunnels(view, args, report); break;
    case STAT_EVENTS: rc = stat_events(view, args, report); break;
    case STAT_CERTIFICATES: rc = stat_certificates(view, report); break;
    case STAT_RING: rc = stat_ring(view, args, report, why); break;
    default: rc = look_at_sums(view, args, report); break;
    }
    if (rc == -ENOMEM)
        snprintf(why, STAT_WHY_SIZE, "there is not enough memory to show this");
    return rc;
}

void stat_show_print(FILE *out, const struct stat_view *view, const struct stat_args *args,
                     const struct stat_report *report, const struct stat_before *before)
{
    switch (args->form) {
    case STAT_TABLE: stat_print(out, report, before); break;
    case STAT_JSON: stat_json(out, stat_args_page_name(args->page), view, report, before); break;
    case STAT_PROMETHEUS: stat_prometheus(out, report); break;
    }
}
