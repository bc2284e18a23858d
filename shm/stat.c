/* SPDX-License-Identifier: Apache-2.0 */
/* holdfast-stat, the observer: maps the board read-only and shows it. */
#include "common/clock.h"
#include "common/version.h"
#include "shm/stat_help.h"
#include "shm/stat_show.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_TROUBLE = 1, EXIT_USAGE = 2 };

/* What is kept from one look to the next. */
struct looks {
    struct stat_report report[2];
    uint64_t at_ms[2];
    uint32_t count;
    bool broken; /* nobody reads what we write */
};

/* Somebody truncated the segment under us: our pages are gone, and there is nothing to return to. */
static void say_truncated(int number)
{
    static const char text[] = "holdfast-stat: the board was truncated while it was being read\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    (void)number;
    _exit(EXIT_TROUBLE);
}

static void explain_attach(const char *name, int rc, uint32_t version)
{
    switch (rc) {
    case -ENOENT:
        fprintf(stderr,
                "holdfast-stat: there is no board %s: is Holdfast running, and is that the "
                "name in its configuration (-b NAME)?\n",
                name);
        break;
    case -EPROTO: fprintf(stderr, "holdfast-stat: %s is not a board of Holdfast\n", name); break;
    case -EPROTONOSUPPORT:
        fprintf(stderr,
                "holdfast-stat: board %s has layout version %u, this program reads version "
                "%d: use the holdfast-stat that came with the running Holdfast\n",
                name, (unsigned)version, BOARD_VERSION);
        break;
    case -EBADMSG:
        fprintf(stderr, "holdfast-stat: board %s is corrupt: its sizes do not fit its layout\n",
                name);
        break;
    default:
        fprintf(stderr, "holdfast-stat: board %s cannot be read: %s\n", name, strerror(-rc));
        break;
    }
}

/* Look once and print. Returns 0 or an exit status. */
static int look(const struct stat_args *args, const struct board *board, struct looks *looks)
{
    uint32_t now = looks->count & 1, past = now ^ 1;
    char why[STAT_WHY_SIZE];
    struct stat_before before = {0};
    struct stat_view view;
    stat_view_init(&view, board, args->board);
    looks->at_ms[now] = view.mono_ms;
    stat_report_fini(&looks->report[now]);
    if (stat_show_look(&view, args, &looks->report[now], why) < 0) {
        fprintf(stderr, "holdfast-stat: %s\n", why);
        return EXIT_TROUBLE;
    }
    if (looks->count > 0)
        before = (struct stat_before){&looks->report[past], looks->at_ms[now] - looks->at_ms[past]};
    if (args->watch_ms > 0 && args->form == STAT_TABLE)
        fputs("\033[H\033[2J", stdout);
    stat_show_print(stdout, &view, args, &looks->report[now], &before);
    looks->count++;
    return 0;
}

/* Map the board anew for each look, for a new master makes a new one of the same name. */
static int attach_and_look(const struct stat_args *args, struct looks *looks)
{
    struct board board;
    uint32_t version;
    int rc = board_attach(&board, args->board, &version);
    if (rc < 0) {
        explain_attach(args->board, rc, version);
        return EXIT_TROUBLE;
    }
    int status = look(args, &board, looks);
    board_fini(&board);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "holdfast-stat: cannot write: %s\n", strerror(errno));
        looks->broken = true;
        status = EXIT_TROUBLE;
    }
    return status;
}

static void pause_ms(uint64_t ms)
{
    const struct timespec ts = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

static int run(const struct stat_args *args)
{
    struct looks looks = {.count = 0};
    int status = attach_and_look(args, &looks);
    /* Once there was a board, another will come: a restart makes it anew. */
    while (args->watch_ms > 0 && looks.count > 0 && !looks.broken) {
        pause_ms(args->watch_ms);
        status = attach_and_look(args, &looks);
    }
    stat_report_fini(&looks.report[0]);
    stat_report_fini(&looks.report[1]);
    return status;
}

int main(int argc, char **argv)
{
    struct stat_args args;
    char why[STAT_WHY_SIZE];
    signal(SIGBUS, say_truncated);
    if (stat_args_parse(&args, argc, argv, getenv("HOLDFAST_BOARD"), why) < 0) {
        fprintf(stderr, "holdfast-stat: %s\nholdfast-stat -h is the manual\n", why);
        return EXIT_USAGE;
    }
    if (args.help)
        stat_help(stdout);
    else if (args.version)
        printf("holdfast-stat %s\n", version_string());
    else
        return run(&args);
    return fflush(stdout) != 0 ? EXIT_TROUBLE : 0;
}
