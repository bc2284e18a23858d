/* SPDX-License-Identifier: Apache-2.0 */
#include "shm/stat_page.h"

#include <inttypes.h>

static void note_master(const struct stat_view *view, struct stat_report *report)
{
    int32_t pid = view->header.master_pid;
    switch (view->master) {
    case STAT_MASTER_RUNNING: break;
    case STAT_MASTER_STOPPED:
        stat_report_note(report, "master PID %" PRId32 " has stopped: figures are as it left them",
                         pid);
        break;
    case STAT_MASTER_GONE:
        stat_report_note(report, "master PID %" PRId32 " is gone: figures are as it left them",
                         pid);
        break;
    case STAT_MASTER_SILENT:
        stat_report_note(report, "master PID %" PRId32 " is not answering for %" PRIu64 " s", pid,
                         view->silent_ms / 1000);
        break;
    }
}

void stat_notes(const struct stat_view *view, struct stat_report *report)
{
    struct board_slot slot;
    note_master(view, report);
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (stat_view_slot(view, i, &slot) && slot.last_words[0] != '\0')
            stat_report_note(report, "last words of worker %" PRIu32 ": %s", i, slot.last_words);
    }
}
