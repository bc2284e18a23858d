/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>

#define DEFAULT_CONF "/etc/holdfast/holdfast.conf"

enum { LONG_KEYS = 256, LONG_FITS, LONG_MASTER, LONG_KEEPER };

void options_print_help(FILE *out)
{
    fputs(
        "Usage: holdfast [options]\n"
        "\n"
        "  -c FILE       configuration (" DEFAULT_CONF ")\n"
        "  -d            run in the background; returns when the workers serve, or have failed to\n"
        "  -t            check the configuration and exit\n"
        "  -T            check it and print it with every default\n"
        "  -s SIGNAL     tell the running master:\n"
        "                  stop    end now, and wait until it has\n"
        "                  quit    close tunnels over drain_window, end with the last, wait for "
        "it\n"
        "                  reload  read the configuration anew; open tunnels go on, by its limits\n"
        "                  reopen  open the log files anew\n"
        "                  upgrade become the program that stands at the same path now\n"
        "                  recycle replace all workers, one after the other (library updates)\n"
        "                  drain:UPSTREAM/SERVER   no new tunnels, also after reloads and "
        "upgrades\n"
        "                  undrain:UPSTREAM/SERVER\n"
        "                  close-server:UPSTREAM/SERVER   close its tunnels over drain_window\n"
        "                  close:TUNNEL   close one, numbered as in holdfast-stat tunnels\n"
        "      --keys    print the reference of all configuration keys\n"
        "  -v, --version print the version\n"
        "  -h, --help    print this\n",
        out);
}

static int apply(struct options *options, int option)
{
    switch (option) {
    case 'c': options->conf_path = optarg; return 0;
    case 'd': options->daemon = true; return 0;
    case 't': options->action = OPTIONS_CHECK; return 0;
    case 'T': options->action = OPTIONS_PRINT; return 0;
    case 's':
        options->action = OPTIONS_SIGNAL;
        options->signal_word = optarg;
        return 0;
    case LONG_KEYS: options->action = OPTIONS_KEYS; return 0;
    case LONG_FITS:
        options->action = OPTIONS_FITS;
        options->layouts = optarg;
        return 0;
    case LONG_MASTER:
        options->action = OPTIONS_MASTER;
        options->number = atoi(optarg);
        return 0;
    case LONG_KEEPER:
        options->action = OPTIONS_KEEPER;
        options->number = atoi(optarg);
        return 0;
    case 'v': options->action = OPTIONS_VERSION; return 0;
    case 'h': options->action = OPTIONS_HELP; return 0;
    default: fprintf(stderr, "Try: holdfast --help\n"); return -EINVAL;
    }
}

int options_parse(struct options *options, int argc, char **argv)
{
    static const struct option words[] = {
        {"keys", no_argument, NULL, LONG_KEYS},
        {"fits", required_argument, NULL, LONG_FITS},
        {"master", required_argument, NULL, LONG_MASTER},
        {"keeper", required_argument, NULL, LONG_KEEPER},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.action = OPTIONS_RUN, .conf_path = DEFAULT_CONF};
    for (int option; (option = getopt_long(argc, argv, "c:dtTs:vh", words, NULL)) != -1;) {
        int error = apply(options, option);
        if (error)
            return error;
    }
    if (optind < argc) {
        fprintf(stderr, "holdfast: \"%s\" is no option\nTry: holdfast --help\n", argv[optind]);
        return -EINVAL;
    }
    return 0;
}
