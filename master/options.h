/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of holdfast. */
#ifndef MASTER_OPTIONS_H
#define MASTER_OPTIONS_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdio.h>

enum options_action {
    OPTIONS_RUN,
    OPTIONS_CHECK,   /* -t */
    OPTIONS_PRINT,   /* -T: check and print */
    OPTIONS_SIGNAL,  /* -s */
    OPTIONS_KEYS,    /* --keys */
    OPTIONS_VERSION, /* -v */
    OPTIONS_HELP,    /* -h */
};

struct options {
    enum options_action action;
    const char *conf_path;
    const char *signal_word; /* -s: stop, quit, reload or reopen */
    bool daemon;             /* -d */
};

/* Borrows argv. Returns 0, or -EINVAL after a message on standard error. */
int options_parse(struct options *options, int argc, char **argv) MUST_CHECK;

void options_print_help(FILE *out);

#endif
