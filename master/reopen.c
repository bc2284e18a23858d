/* SPDX-License-Identifier: Apache-2.0 */
#include "master/reopen.h"

#include "master/checker.h"
#include "master/logs.h"
#include "master/report.h"
#include "master/slots.h"

void reopen_logs(struct master *master)
{
    struct report report;
    struct master_logs logs;
    if (report_begin(&report) < 0)
        return;
    int error = logs_open(&logs, master->conf, report.messages);
    report_log(&report, LOG_LEVEL_ERROR, "reopen_failed");
    if (error)
        return;
    logs_use(master, &logs);
    log_write(LOG_LEVEL_INFO, "reopened", "error_log=%s access_log=%s",
              master->conf->error_log.path,
              master->conf->access_log.path ? master->conf->access_log.path : "off");
    checker_tell(master);
    for (uint32_t i = 0; i < BOARD_SLOTS_MAX; i++) {
        if (master->slots[i].running)
            slots_want(master, i, (enum slot_mode)master->slots[i].mode);
    }
}
