/* SPDX-License-Identifier: Apache-2.0 */
#include "master/certificates.h"

#include "common/clock.h"

#include <stdio.h>
#include <time.h>

enum { DAY_S = 86400, DAY_MS = DAY_S * 1000 };

/* As many names as fit whole, a space between two. */
static void join_names(char *out, size_t size, const struct cert *cert)
{
    size_t used = 0;
    memset(out, 0, size);
    for (uint32_t i = 0; i < cert->name_count; i++) {
        size_t n = strlen(cert->names[i]);
        if (used + (used > 0) + n >= size)
            return;
        if (used > 0)
            out[used++] = ' ';
        memcpy(out + used, cert->names[i], n);
        used += n;
    }
}

/* The end of a path says more than its beginning. */
static void cut_path(char *out, size_t size, const char *path)
{
    size_t n = strlen(path);
    memset(out, 0, size);
    memcpy(out, n < size ? path : path + n - (size - 1), n < size ? n : size - 1);
}

static uint64_t real_ms(int64_t seconds)
{
    return seconds > 0 ? (uint64_t)seconds * 1000 : 0;
}

static void show_one(const struct master *master, uint32_t index)
{
    const struct conf_certificate *from = &master->conf->certificates[index];
    struct board_certificate *shown = board_certificate(&master->board, index);
    /* A reader that sees `used` change drops what it has read. */
    STORE_RELAXED(&shown->used, 0);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    shown->type = from->cert.type;
    shown->bits = from->cert.bits;
    shown->name_count = from->cert.name_count;
    shown->not_before_real_ms = real_ms(from->cert.not_before);
    shown->not_after_real_ms = real_ms(from->cert.not_after);
    cut_path(shown->path, sizeof shown->path, from->certificate);
    join_names(shown->names, sizeof shown->names, &from->cert);
    STORE_RELEASE(&shown->used, master->generation);
}

void certificates_show(struct master *master)
{
    struct board_header *header = master->board.header;
    uint32_t count = master->conf->certificate_count;
    for (uint32_t i = 0; i < count; i++)
        show_one(master, i);
    for (uint32_t i = count; i < header->certificates; i++)
        STORE_RELAXED(&board_certificate(&master->board, i)->used, 0);
    STORE_RELEASE(&header->certificates, count);
    master->certificates_due_ms = 0;
}

static void judge(const struct cert *cert, const char *path, const char *owner)
{
    int64_t left = cert->not_after - (int64_t)(clock_real_ms() / 1000);
    int64_t days = left >= 0 ? left / DAY_S : -((-left + DAY_S - 1) / DAY_S);
    char until[24], shown[256];
    struct tm tm;
    time_t not_after = (time_t)cert->not_after;
    if (cert->count == 0 || days >= CERTIFICATES_WARN_DAYS)
        return;
    gmtime_r(&not_after, &tm);
    strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
    log_write(LOG_LEVEL_WARN, "certificate_expires", "days=%lld not_after=%s %s file=%s",
              (long long)days, until, owner, log_escape(slice_of(path), shown, sizeof shown));
}

static void judge_staple(const struct conf_certificate *certificate)
{
    char shown[256];
    if (certificate->staple.n == 0 || certificate->staple_until > (int64_t)(clock_real_ms() / 1000))
        return;
    log_write(LOG_LEVEL_WARN, "staple_expired", "file=%s",
              log_escape(slice_of(certificate->ocsp), shown, sizeof shown));
}

void certificates_step(struct master *master, uint64_t now_ms)
{
    const struct conf *conf = master->conf;
    char owner[300];
    if (now_ms < master->certificates_due_ms)
        return;
    master->certificates_due_ms = now_ms + DAY_MS;
    for (uint32_t i = 0; i < conf->certificate_count; i++) {
        const struct conf_certificate *one = &conf->certificates[i];
        snprintf(owner, sizeof owner, "name=%s",
                 one->cert.name_count > 0 ? one->cert.names[0] : "-");
        judge(&one->cert, one->certificate, owner);
        judge_staple(one);
    }
    for (uint32_t i = 0; i < conf->upstream_count; i++) {
        const struct conf_upstream *upstream = &conf->upstreams[i];
        snprintf(owner, sizeof owner, "upstream=%s", upstream->name);
        if (upstream->tls.cert.count > 0)
            judge(&upstream->tls.cert, upstream->tls.certificate, owner);
    }
}
