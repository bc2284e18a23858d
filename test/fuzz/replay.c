/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer:
 *
 *   fuzz_PARSER [--generate SEED COUNT] [FILE|DIRECTORY...]
 *
 * gives it every file (none named: those in test/fuzz/corpus/PARSER), then COUNT mutations of them.
 * The same seed and files give the same inputs on every machine. When an input makes the target
 * abort, its number is printed; under ASan that needs ASAN_OPTIONS=abort_on_error=1.
 */
#include "test/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INPUT_MAX = 8192, MUTATIONS_MAX = 6 };

struct input {
    uint8_t *bytes;
    size_t size;
};

struct corpus {
    struct input *inputs;
    size_t count;
};

/* For the message of a crash. */
static volatile unsigned long current;

static void say_where(int signal_number)
{
    char text[96];
    int n = snprintf(text, sizeof text, "died at input %lu (corpus first, from 1)\n", current);

    ssize_t ignored = write(STDERR_FILENO, text, (size_t)n);
    (void)ignored;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void die(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s: %s\n", what, name, strerror(errno));
    exit(EXIT_FAILURE);
}

static void load_file(struct corpus *corpus, const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(INPUT_MAX);
    struct input *more = realloc(corpus->inputs, (corpus->count + 1) * sizeof *more);

    if (!file || !bytes || !more)
        die("cannot read", path);
    size_t size = fread(bytes, 1, INPUT_MAX, file);
    if (size == INPUT_MAX) {
        errno = EFBIG;
        die("cannot read", path);
    }
    fclose(file);
    more[corpus->count++] = (struct input){bytes, size};
    corpus->inputs = more;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Directories in the order of their names, so that a seed means the same everywhere. */
static void load(struct corpus *corpus, const char *path)
{
    struct stat st;
    struct dirent **entries;

    if (stat(path, &st) != 0)
        die("cannot find", path);
    if (!S_ISDIR(st.st_mode)) {
        load_file(corpus, path);
        return;
    }
    int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0)
        die("cannot list", path);
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        load_file(corpus, name);
        free(entries[i]);
    }
    free(entries);
}

/* The corpus of fuzz_PARSER, seen from the top of the tree. */
static void load_own(struct corpus *corpus, const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    char path[256];

    if (strncmp(name, "fuzz_", 5) == 0)
        name += 5;
    snprintf(path, sizeof path, "test/fuzz/corpus/%s", name);
    load(corpus, path);
}

/* xorshift64*. */
static uint64_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static size_t below(uint64_t *state, size_t bound)
{
    return bound > 0 ? (size_t)((draw(state) >> 16) % bound) : 0;
}

/* Put a piece of `from` into `to` at a random place, over what is there or between it. */
static void splice(uint64_t *state, struct input *to, const struct input *from)
{
    size_t start = below(state, from->size);
    size_t length = below(state, from->size - start + 1);
    size_t at = below(state, to->size + 1);

    if (at + length > INPUT_MAX)
        return;
    if (draw(state) >> 63) {
        if (to->size + length > INPUT_MAX)
            return;
        memmove(to->bytes + at + length, to->bytes + at, to->size - at);
        to->size += length;
    } else if (at + length > to->size) {
        to->size = at + length;
    }
    memmove(to->bytes + at, from->bytes + start, length);
}

/* Bytes that parsers care about. */
static uint8_t odd_byte(uint64_t *state)
{
    static const uint8_t odd[] = "\r\n \t:,;=\"\\/?#%@[]_-+0189afx\x0b\x7f\x80\x85\xa0\xff\0";

    return odd[below(state, sizeof odd)];
}

static void mutate(uint64_t *state, struct input *input, const struct corpus *corpus)
{
    size_t at = below(state, input->size);
    size_t length;

    switch (input->size > 0 ? below(state, 7) : 6) {
    case 0: input->bytes[at] ^= (uint8_t)(1u << below(state, 8)); break;
    case 1: input->bytes[at] = odd_byte(state); break;
    case 2: input->bytes[at] = (uint8_t)draw(state); break;
    case 3: /* cut a piece out */
        length = below(state, input->size - at < 32 ? input->size - at : 32) + 1;
        memmove(input->bytes + at, input->bytes + at + length, input->size - at - length);
        input->size -= length;
        break;
    case 4: /* put a byte in */
        if (input->size == INPUT_MAX)
            break;
        memmove(input->bytes + at + 1, input->bytes + at, input->size - at);
        input->bytes[at] = odd_byte(state);
        input->size++;
        break;
    case 5: input->size = at; break; /* cut off */
    default: splice(state, input, &corpus->inputs[below(state, corpus->count)]); break;
    }
}

/* In memory of exactly its size: a sanitizer sees the first byte too many. */
static void run(const struct input *input)
{
    uint8_t *copy = malloc(input->size > 0 ? input->size : 1);

    if (!copy)
        die("cannot run", "input");
    memcpy(copy, input->bytes, input->size);
    current++;
    LLVMFuzzerTestOneInput(copy, input->size);
    free(copy);
}

static void generate(const struct corpus *corpus, uint64_t seed, unsigned long count)
{
    static uint8_t bytes[INPUT_MAX];
    uint64_t state = seed * 2 + 1; /* never 0 */

    for (unsigned long i = 0; i < count; i++) {
        const struct input *parent = &corpus->inputs[below(&state, corpus->count)];
        struct input child = {bytes, parent->size};
        memcpy(bytes, parent->bytes, parent->size);
        /* Mostly one or two: what is nearly right goes deepest. */
        for (size_t n = below(&state, below(&state, MUTATIONS_MAX) + 1) + 1; n > 0; n--)
            mutate(&state, &child, corpus);
        run(&child);
    }
}

int main(int argc, char **argv)
{
    struct corpus corpus = {0};
    unsigned long seed = 0, count = 0;
    int arg = 1;

    if (argc > 3 && strcmp(argv[1], "--generate") == 0) {
        seed = strtoul(argv[2], NULL, 10);
        count = strtoul(argv[3], NULL, 10);
        arg = 4;
    }
    if (arg == argc)
        load_own(&corpus, argv[0]);
    for (; arg < argc; arg++)
        load(&corpus, argv[arg]);
    if (corpus.count == 0) {
        fprintf(stderr, "%s: no files to start from\n", argv[0]);
        return EXIT_FAILURE;
    }
    signal(SIGABRT, say_where);
    signal(SIGSEGV, say_where);
    for (size_t i = 0; i < corpus.count; i++)
        run(&corpus.inputs[i]);
    generate(&corpus, seed, count);
    printf("%s: %zu files, %lu mutations of them, seed %lu\n", argv[0], corpus.count, count, seed);
    for (size_t i = 0; i < corpus.count; i++)
        free(corpus.inputs[i].bytes);
    free(corpus.inputs);
    return EXIT_SUCCESS;
}
