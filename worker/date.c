/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/date.h"

#include "worker/context.h"

#include <time.h>

struct slice date_now(struct worker *w)
{
    struct date *date = &w->date;
    uint64_t now_s = w->real_ms / 1000;
    if (date->s != now_s) {
        time_t seconds = (time_t)now_s;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(date->text, sizeof date->text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        date->s = now_s;
    }
    return (struct slice){date->text, DATE_LEN};
}
