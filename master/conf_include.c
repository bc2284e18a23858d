/* SPDX-License-Identifier: Apache-2.0 */
#include "master/conf_include.h"

#include "common/slice.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { DEPTH_MAX = 10 }; /* libconfig's own bound */

/* The file name of a line `@include "name"`, cut out in place; NULL for all other lines. */
static char *included(char *line)
{
    line += strspn(line, " \t");
    if (strncmp(line, "@include", 8) != 0)
        return NULL;
    line += 8;
    line += strspn(line, " \t");
    char *end = line[0] == '"' ? strchr(line + 1, '"') : NULL;
    if (!end)
        return NULL;
    *end = '\0';
    return line + 1;
}

static void check(FILE *stream, const char *path, int depth, struct conf_errors *errors)
{
    char *line = NULL;
    size_t size = 0;
    for (int number = 1; getline(&line, &size, stream) >= 0; number++) {
        struct stat st;
        const char *name = included(line);
        if (!name || stat(name, &st) < 0)
            continue; /* libconfig says what it cannot open */
        if (!S_ISREG(st.st_mode)) {
            struct conf_place place = {.file = path, .line = number, .name = "@include"};
            conf_error_at(errors, &place, "\"%s\" is %s", name,
                          S_ISDIR(st.st_mode) ? "a directory: name the files in it, one line each"
                                              : "no file");
            continue;
        }
        FILE *file = depth < DEPTH_MAX ? fopen(name, "re") : NULL;
        if (file) {
            check(file, name, depth + 1, errors);
            fclose(file);
        }
    }
    free(line);
}

void conf_include_check(FILE *stream, const char *path, struct conf_errors *errors)
{
    /* A pipe can be read only once. */
    if (fseek(stream, 0, SEEK_SET) < 0)
        return;
    check(stream, path, 0, errors);
    rewind(stream);
}
