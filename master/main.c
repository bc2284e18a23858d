/* SPDX-License-Identifier: Apache-2.0 */
/* holdfast, the master: what can be asked of it on the command line. */
#define _GNU_SOURCE 1

#include "common/crypto_memory.h"
#include "common/gcm.h"
#include "common/log.h"
#include "common/version.h"
#include "master/conf.h"
#include "master/daemon.h"
#include "master/handover.h"
#include "master/keeper.h"
#include "master/loop.h"
#include "master/options.h"
#include "master/remote.h"
#include "master/slim.h"
#include "master/start.h"
#include "master/stop.h"
#include "master/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Nothing of ours may land on the numbers of standard input, output and error. */
static void open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int check(const struct options *options)
{
    struct conf *conf;
    if (conf_load(&conf, options->conf_path, stderr) < 0) {
        fprintf(stderr, "holdfast: %s: there are errors\n", options->conf_path);
        return EXIT_FAILURE;
    }
    if (options->action == OPTIONS_PRINT)
        conf_print(conf, stdout);
    else
        fprintf(stderr, "holdfast: %s: no errors\n", options->conf_path);
    conf_free(&conf);
    return EXIT_SUCCESS;
}

/* The path must mean the same file for as long as the master lives. */
static char *absolute_path(const char *path)
{
    char *absolute = realpath(path, NULL);
    if (!absolute)
        fprintf(stderr, "holdfast: cannot read %s: %s\n", path, strerror(errno));
    return absolute;
}

static int run(const struct options *options)
{
    struct master master;
    char *conf_path = absolute_path(options->conf_path);
    if (!conf_path)
        return EXIT_FAILURE;
    int ready_fd = -1;
    if (options->daemon) {
        ready_fd = daemon_detach();
        if (ready_fd < 0) {
            fprintf(stderr, "holdfast: cannot go into the background: %s\n", strerror(-ready_fd));
            free(conf_path);
            return EXIT_FAILURE;
        }
    }
    log_init(STDERR_FILENO, LOG_LEVEL_INFO, "master");
    start_init(&master, conf_path, ready_fd);
    if (start_master(&master) == 0)
        loop_run(&master);
    else
        master.exit_status = EXIT_FAILURE;
    stop_finish(&master);
    free(conf_path);
    return master.exit_status;
}

static int tell(const struct options *options)
{
    const char *word = options->signal_word;
    int error = strchr(word, ':') ? remote_order(options->conf_path, word)
                                  : remote_signal(options->conf_path, word);
    return error < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* We are what a running master has exec'ed: the same process, a new program. */
static int go_on(const struct options *options)
{
    struct master master;
    log_init(STDERR_FILENO, LOG_LEVEL_INFO, "master");
    start_init(&master, NULL, -1);
    if (handover_resume(&master, options->number) == 0)
        loop_run(&master);
    else
        master.exit_status = EXIT_FAILURE;
    stop_finish(&master);
    free((char *)master.conf_path); /* here it came with the handover and is ours */
    return master.exit_status;
}

int main(int argc, char **argv)
{
    struct options options;
    open_standard_descriptors();
    if (crypto_memory_init() < 0) {
        fprintf(stderr, "holdfast: the library for TLS cannot be made ready\n");
        return EXIT_FAILURE;
    }
    if (options_parse(&options, argc, argv) < 0)
        return EXIT_FAILURE;
    switch (options.action) {
    case OPTIONS_CHECK:
    case OPTIONS_PRINT: return check(&options);
    case OPTIONS_SIGNAL: return tell(&options);
    case OPTIONS_KEYS: conf_print_keys(stdout); return EXIT_SUCCESS;
    case OPTIONS_VERSION: printf("holdfast %s\n", version_string()); return EXIT_SUCCESS;
    case OPTIONS_HELP: options_print_help(stdout); return EXIT_SUCCESS;
    case OPTIONS_FITS: return trial_fits(options.layouts) < 0 ? EXIT_FAILURE : check(&options);
    case OPTIONS_KEEPER:
    case OPTIONS_MASTER:
    case OPTIONS_RUN: break;
    }
    gcm_init();       /* here, so that no worker has to */
    slim_drop_text(); /* megabytes, that it went through to test itself */
    if (options.action == OPTIONS_KEEPER)
        keeper_resume((uint32_t)options.number);
    return options.action == OPTIONS_MASTER ? go_on(&options) : run(&options);
}
