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
    OPTIONS_FITS,    /* --fits: by a master that wants to become this program */
    OPTIONS_MASTER,  /* --master: by exec, from a master */
    OPTIONS_KEEPER,  /* --keeper: by exec, from a keeper */
    OPTIONS_VERSION, /* -v */
    OPTIONS_HELP,    /* -h */
};

struct options {
    enum options_action action;
    const char *conf_path;
    const char *layouts;     /* --fits */
    int number;              /* --master: descriptor; --keeper: slot */
    const char *signal_word; /* -s: stop, quit ... or an order: drain:chat/10.0.0.1:80 */
    bool daemon;             /* -d */
};

/* Borrows argv. Returns 0, or -EINVAL after a message on standard error. */
int options_parse(struct options *options, int argc, char **argv) MUST_CHECK;

void options_print_help(FILE *out);

#endif
