/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a configuration file. It loads, and nothing but warnings is printed, or at least one
 * error is; and what is printed of a configuration that loads loads as the same one.
 */
#define _GNU_SOURCE 1
#include "master/conf.h"

#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* libconfig 1.5 loses the string in which the file ends; that is not what we look for. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig";
}

/* What may be said of a configuration that loads. */
static bool only_warnings(const char *messages)
{
    return messages[0] == '\0' || strstr(messages, ": warning: ");
}

/* Load bytes as a file; NULL when they are refused. */
static struct conf *load(const char *bytes, size_t size)
{
    char path[64], messages[4096] = "";
    struct conf *conf;
    int fd = memfd_create("fuzz-conf", MFD_CLOEXEC);
    ASSERT(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    FILE *errors = fmemopen(messages, sizeof(messages), "w");
    int rc = conf_load(&conf, path, errors);
    ASSERT(rc == 0 || ftell(errors) > 0);
    ASSERT((rc == 0) == (conf != NULL));
    fclose(errors);
    ASSERT(rc != 0 || only_warnings(messages));
    close(fd);
    return conf;
}

static char *print(struct conf *conf, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    conf_print(conf, out);
    fclose(out);
    conf_free(&conf);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t first_size, second_size;
    /* Other files are no input. */
    if (memmem(data, size, "@include", 8))
        return 0;
    struct conf *conf = load((const char *)data, size);
    if (!conf)
        return 0;
    char *first = print(conf, &first_size);
    conf = load(first, first_size);
    ASSERT(conf);
    char *second = print(conf, &second_size);
    ASSERT(first_size == second_size && memcmp(first, second, first_size) == 0);
    free(first);
    free(second);
    return 0;
}
