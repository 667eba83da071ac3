/* mullion-check: checks a partition file on the host with the sources that the hypervisor reads it
 * with, and prints who owns what. Exit codes: 0 good, 1 a mistake in the file, 2 the command
 * itself. Prints either one mistake or the whole report, never a part. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/errors.h"
#include "core/config/config.h"
#include "core/config/schema.h"
#include "tools/report.h"

enum { EXIT_GOOD = 0, EXIT_MISTAKE = 1, EXIT_USAGE = 2 };

static const char help[] = "usage: mullion-check FILE [--modules DIR-OR-LIST] [--cpus N] [--memory SIZE]\n"
                           "\n"
                           "Checks a Mullion partition file and prints who owns each core, memory range, port,\n"
                           "interrupt and module.\n"
                           "\n"
                           "  --modules DIR     the modules are the files of this directory\n"
                           "  --modules A,B,C   the modules are these names\n"
                           "  --cpus N          the machine has N cores\n"
                           "  --memory SIZE     the machine has this much memory for partitions: 512M, 4G\n"
                           "  --help            print this text\n"
                           "\n"
                           "Without an option, what it tells is not checked. Exit code: 0 if the file is good, 1 if\n"
                           "it has a mistake, 2 if the command is wrong or a file cannot be read.\n";

struct names {
    char **list;
    size_t count;
};

struct options {
    const char *file, *modules;
    struct config_machine machine;
    u64 memory; /* bytes free for partitions, 0: not checked */
};

static void *grow(void *old, size_t bytes) {
    void *memory = realloc(old, bytes);

    if (!memory) {
        fputs("mullion-check: out of memory\n", stderr);
        exit(EXIT_USAGE);
    }
    return memory;
}

static void add_name(struct names *names, const char *text, size_t length) {
    char *name = grow(NULL, length + 1);

    memcpy(name, text, length);
    name[length] = 0;
    names->list = grow(names->list, (names->count + 1) * sizeof(*names->list));
    names->list[names->count++] = name;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* A directory's files, sorted so that messages are the same everywhere; or the listed names. */
static int read_modules(const char *spec, struct names *names) {
    DIR *dir = opendir(spec);

    names->list = grow(NULL, sizeof(*names->list)); /* never NULL: "none" is an answer */
    if (!dir) {
        if (strchr(spec, '/')) {
            fprintf(stderr, "mullion-check: %s: %s\n", spec, strerror(errno));
            return -1;
        }
        for (const char *s = spec; *s; s += *s == ',') {
            size_t n = strcspn(s, ",");

            if (n) add_name(names, s, n);
            s += n;
        }
        return 0;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (entry->d_name[0] != '.') add_name(names, entry->d_name, strlen(entry->d_name));
    closedir(dir);
    qsort(names->list, names->count, sizeof(*names->list), compare_names);
    return 0;
}

static int usage(const char *what, const char *which) {
    fprintf(stderr, "mullion-check: %s%s\ntry: mullion-check --help\n", what, which);
    return -1;
}

static int take_option(struct options *o, const char *name, const char *value) {
    char *end;

    if (!strcmp(name, "--modules")) {
        o->modules = value;
        return 0;
    }
    if (!strcmp(name, "--memory")) {
        if (!config_parse_size(value, strlen(value), &o->memory) || !o->memory)
            return usage("--memory needs a size such as 512M, not ", value);
        return 0;
    }
    errno = 0;
    o->machine.cpu_count = (u32)strtoul(value, &end, 10);
    if (errno || *end || value[0] < '0' || value[0] > '9' || strlen(value) > 5 || o->machine.cpu_count == 0)
        return usage("--cpus needs a number of 1 or more, not ", value);
    return 0;
}

/* "--name value" and "--name=value". */
static int parse_options(int argc, char **argv, struct options *o) {
    static const char *const known[] = {"--modules", "--cpus", "--memory"};

    for (int i = 1; i < argc; i++) {
        const char *match = NULL, *value;
        size_t length = strcspn(argv[i], "=");

        if (argv[i][0] != '-') {
            if (o->file) return usage("one file at a time, not also ", argv[i]);
            o->file = argv[i];
            continue;
        }
        for (size_t k = 0; k < 3; k++)
            if (strlen(known[k]) == length && !strncmp(argv[i], known[k], length)) match = known[k];
        if (!match) return usage("no such option: ", argv[i]);
        value = argv[i][length] ? argv[i] + length + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value) return usage("a value is missing after ", match);
        if (take_option(o, match, value)) return -1;
    }
    return o->file ? 0 : usage("no file is given", "");
}

static char *read_file(const char *path, size_t *length) {
    size_t room = KIB(64);
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    bool bad = f == NULL;

    *length = 0;
    while (!bad) {
        text = grow(text, room);
        *length += fread(text + *length, 1, room - *length, f);
        if (*length < room || *length > CONFIG_MAX_BYTES) break;
        room *= 2;
    }
    bad = bad || ferror(f);
    if (bad) {
        fprintf(stderr, "mullion-check: %s: %s\n", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (f) fclose(f);
    return text;
}

/* The line of the mistake and a caret below its character. Long lines are cut around it. */
static void print_source(const char *text, size_t length, const struct config_error *e) {
    const u32 before = 60, most = 100;
    u32 first = e->column > before ? e->column - before : 1, column = 0;
    size_t at = 0;

    for (u32 line = 1; line < e->line && at < length; at++) line += text[at] == '\n';
    if (at == 0 && length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) at = 3; /* a byte-order mark takes no column */
    fputs("    ", stderr);
    for (size_t i = at; i < length && text[i] != '\n' && text[i] != '\r'; i++) {
        u8 c = (u8)text[i];

        column += (c & 0xc0) != 0x80;
        if (column < first || column >= first + most) continue;
        /* A tab counts as one column, so it is shown as one space. */
        fputc(c == '\t' ? ' ' : c < 0x20 || c == 0x7f ? '?' : c, stderr);
    }
    fprintf(stderr, "\n    %*s\n", (int)(e->column - first + 1), "^");
}

static int mistake(const char *file, const char *text, size_t length, const struct config_error *e) {
    fprintf(stderr, "%s:%u:%u: %s\n", file, e->line, e->column, e->what);
    print_source(text, length, e);
    fprintf(stderr, "  remedy: %s\n", e->remedy);
    return EXIT_MISTAKE;
}

static void print_line(void *ctx, const char *text) {
    (void)ctx;
    puts(text);
}

static int check(const struct options *o, const char *text, size_t length) {
    struct arena arena = {.size = CONFIG_ARENA_BYTES(length)};
    struct config_error error = {0};
    struct config *config;
    int rc;

    arena.base = grow(NULL, arena.size);
    rc = config_parse(&arena, text, length, &config, &error);
    if (!rc) rc = config_check_machine(config, &o->machine, &error);
    if (!rc && o->memory) rc = config_check_memory(config, o->memory, &error);
    if (rc) {
        rc = mistake(o->file, text, length, &error);
    } else {
        config_report(config, print_line, NULL);
        rc = fflush(stdout) ? EXIT_USAGE : EXIT_GOOD;
        if (rc) fprintf(stderr, "mullion-check: cannot write: %s\n", strerror(errno));
    }
    free(arena.base);
    return rc;
}

int main(int argc, char **argv) {
    struct options o = {0};
    struct names names = {0};
    size_t length;
    char *text;
    int rc = EXIT_USAGE;

    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help")) return fputs(help, stdout) < 0 || fflush(stdout) ? EXIT_USAGE : EXIT_GOOD;
    if (parse_options(argc, argv, &o) || (o.modules && read_modules(o.modules, &names))) goto out;
    text = read_file(o.file, &length);
    if (!text) goto out;
    o.machine.modules = (const char *const *)names.list;
    o.machine.module_count = (u32)names.count;
    rc = check(&o, text, length);
    free(text);
out:
    for (size_t i = 0; i < names.count; i++) free(names.list[i]);
    free(names.list);
    return rc;
}
