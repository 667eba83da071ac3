/* mullion-check: checks a partition file on the host with the sources that the hypervisor reads it
 * with, and prints who owns what. Exit codes: 0 good, 1 a mistake in the file, 2 the command
 * itself. Prints either one mistake or the whole report, never a part. This file: the command line and the files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/errors.h"
#include "core/config/config.h"
#include "core/config/options.h"
#include "core/config/schema.h"
#include "tools/files.h"
#include "tools/inventory.h"
#include "tools/kernels.h"
#include "tools/report.h"

#ifndef MULLION_VERSION
#define MULLION_VERSION "unknown"
#endif

enum { EXIT_GOOD = 0, EXIT_MISTAKE = 1, EXIT_USAGE = 2 };

static const char help[] = "Usage: mullion-check FILE [OPTION]...\n"
                           "Checks a Mullion partition file and prints who owns each core, memory range, port,\n"
                           "interrupt, PCI function and module.\n"
                           "\n"
                           "  --machine LIST    the machine is what tools/inventory printed into this file\n"
                           "  --modules DIR     the modules are the files of this directory; kernels are loaded as\n"
                           "                    the hypervisor loads them\n"
                           "  --modules A,B,C   the modules are these names\n"
                           "  --module NAME FILE  a module, which is this file; for several, several times\n"
                           "  --hypervisor ELF  this file is one that a Multiboot2 loader starts\n"
                           "  --cmdline OPTIONS the hypervisor's command line, in one word\n"
                           "  --cpus N          the machine has N cores\n"
                           "  --memory SIZE     the machine has this much memory for partitions: 512M, 4G\n"
                           "  --json            print the report, or the mistake, for programs\n"
                           "  --svg OUT         also draw the machine into this file\n"
                           "  --strict          warnings are mistakes\n"
                           "  --help            print this text\n"
                           "  --version         print the version\n"
                           "\n"
                           "Without an option, what it tells is not checked. Exit code: 0 if the file is good, 1 if\n"
                           "it has a mistake, 2 if the command is wrong or a file cannot be read or written.\n";

/* The modules that the command line tells of. */
struct modules {
    struct module_file *list;
    const char **names; /* the same ones' */
    size_t count;
};

struct options {
    const char *file, *inventory, *svg, *hypervisor;
    struct modules modules;
    struct config_machine machine;
    u64 memory; /* bytes free for partitions, 0: not checked */
    bool json, strict;
};

/* A run: everything that is learned on the way to the report. */
struct run {
    const struct options *options;
    const char *text;
    size_t length;
    struct inventory *machine;
    struct placement *places;
    struct config *config;
    struct config_error *warnings;
    u32 warning_count;
    u8 *arenas[3]; /* of the file, of the inventory, of the placement */
};

/* folder: NULL or where the file is, whose name it has there. file: NULL, or the file. */
static void add_module(struct modules *m, const char *name, size_t length, const char *folder, const char *file) {
    size_t room = (folder ? strlen(folder) + 1 + length : file ? strlen(file) : 0) + 1;
    struct module_file *new;

    m->list = file_grow(m->list, (m->count + 1) * sizeof(*m->list));
    new = &m->list[m->count++];
    new->name = file_grow(NULL, length + 1);
    memcpy(new->name, name, length);
    new->name[length] = 0;
    new->path = folder || file ? file_grow(NULL, room) : NULL;
    if (folder) (void)snprintf(new->path, room, "%s/%s", folder, new->name);
    if (file) memcpy(new->path, file, room);
}

static int compare_modules(const void *a, const void *b) {
    return strcmp(((const struct module_file *)a)->name, ((const struct module_file *)b)->name);
}

/* A directory's files, sorted so that messages are the same everywhere; or the listed names. */
static int read_modules(const char *spec, struct modules *m) {
    DIR *dir = opendir(spec);
    size_t first = m->count;

    m->list = file_grow(m->list, (m->count + 1) * sizeof(*m->list)); /* never NULL: "none" is an answer */
    if (!dir) {
        if (strchr(spec, '/')) {
            fprintf(stderr, "mullion-check: %s: %s\n", spec, strerror(errno));
            return -1;
        }
        for (const char *s = spec; *s; s += *s == ',') {
            size_t n = strcspn(s, ",");

            if (n) add_module(m, s, n, NULL, NULL);
            s += n;
        }
        return 0;
    }
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (entry->d_name[0] != '.') add_module(m, entry->d_name, strlen(entry->d_name), spec, NULL);
    closedir(dir);
    qsort(m->list + first, m->count - first, sizeof(*m->list), compare_modules);
    return 0;
}

static int usage(const char *what, const char *which) {
    fprintf(stderr, "mullion-check: %s%s\ntry: mullion-check --help\n", what, which);
    return -1;
}

/* What of the hypervisor's command line the checks depend on. */
static int take_cmdline(struct config_machine *machine, const char *cmdline) {
    struct boot_options o;
    char why[300], *remedy;

    if (options_parse(cmdline, &o, why, sizeof(why))) {
        remedy = strchr(why, '|');
        if (remedy) *remedy++ = 0;
        fprintf(stderr, "mullion-check: --cmdline: %s\n  remedy: %s\n", why, remedy ? remedy : "correct it");
        return -1;
    }
    if (o.console.given && o.console.uart == UART_PORT) machine->console = o.console.at;
    return 0;
}

static int take_option(struct options *o, const char *name, const char *value) {
    char *end;

    if (!strcmp(name, "--modules")) return read_modules(value, &o->modules);
    if (!strcmp(name, "--cmdline")) return take_cmdline(&o->machine, value);
    if (!strcmp(name, "--hypervisor")) {
        o->hypervisor = value;
        return 0;
    }
    if (!strcmp(name, "--machine")) {
        o->inventory = value;
        return 0;
    }
    if (!strcmp(name, "--svg")) {
        o->svg = value;
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

/* Options without a value. */
static bool take_flag(struct options *o, const char *name) {
    bool json = !strcmp(name, "--json"), strict = !strcmp(name, "--strict");

    o->json |= json;
    o->strict |= strict;
    return json || strict;
}

/* "--name value" and "--name=value". */
static int parse_options(int argc, char **argv, struct options *o) {
    static const char *const known[] = {"--modules", "--cpus",       "--memory", "--machine",
                                        "--svg",     "--hypervisor", "--cmdline"};

    for (int i = 1; i < argc; i++) {
        const char *match = NULL, *value;
        size_t length = strcspn(argv[i], "=");

        if (argv[i][0] != '-') {
            if (o->file) return usage("one file at a time, not also ", argv[i]);
            o->file = argv[i];
            continue;
        }
        if (take_flag(o, argv[i])) continue;
        if (!strcmp(argv[i], "--module")) {
            if (i + 2 >= argc) return usage("a name and a file are missing after ", argv[i]);
            add_module(&o->modules, argv[i + 1], strlen(argv[i + 1]), NULL, argv[i + 2]);
            i += 2;
            continue;
        }
        for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
            if (strlen(known[k]) == length && !strncmp(argv[i], known[k], length)) match = known[k];
        if (!match) return usage("no such option: ", argv[i]);
        value = argv[i][length] ? argv[i] + length + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value) return usage("a value is missing after ", match);
        if (take_option(o, match, value)) return -1;
    }
    return o->file ? 0 : usage("no file is given", "");
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

static int mistake(const struct run *r, const struct config_error *e) {
    fprintf(stderr, "%s:%u:%u: %s\n", r->options->file, e->line, e->column, e->what);
    print_source(r->text, r->length, e);
    fprintf(stderr, "  remedy: %s\n", e->remedy);
    if (r->options->json) {
        json_mistake(stdout, r->options->file, e);
        fflush(stdout);
    }
    return EXIT_MISTAKE;
}

static int failed(const char *path, const char *why) {
    fprintf(stderr, "mullion-check: %s: %s\n", path, why);
    return EXIT_USAGE;
}

static int load_machine(struct run *r) {
    const char *path = r->options->inventory;
    struct arena arena = {0};
    struct config_error error = {0};
    size_t length;
    char *text = file_read(path, CONFIG_MAX_BYTES, &length);
    int rc;

    if (!text) return EXIT_USAGE;
    arena.size = INVENTORY_ARENA_BYTES(length);
    arena.base = r->arenas[1] = file_grow(NULL, arena.size);
    rc = length > CONFIG_MAX_BYTES ? -E_INVAL : inventory_parse(&arena, text, length, &r->machine, &error);
    if (length > CONFIG_MAX_BYTES)
        failed(path, "more than 1 MiB: this is no inventory");
    else if (rc) {
        failed(path, error.what);
        if (error.line) {
            fprintf(stderr, "  line %u:\n", error.line);
            print_source(text, length, &error);
        }
        fprintf(stderr, "  remedy: %s\n", error.remedy);
    }
    free(text);
    return rc ? EXIT_USAGE : EXIT_GOOD;
}

static bool earlier(const struct config_error *a, const struct config_error *b) {
    return a->line < b->line || (a->line == b->line && a->column < b->column);
}

/* Adds another check's result: 0, a mistake in `other`, or an error that leaves all checks. */
static int earliest(int rc, struct config_error *error, int code, const struct config_error *other) {
    if (code == -E_INVAL && (!rc || earlier(other, error))) *error = *other;
    return code ? code : rc;
}

/* Of all checks of the machine the mistake that stands first. */
static int check_machine(struct run *r, struct config_error *error) {
    struct config_error other;
    const struct modules *m = &r->options->modules;
    struct arena arena = {0};
    u32 count = r->config->partition_count, ranges;
    int rc = config_check_machine(r->config, &r->options->machine, error);

    if (r->options->memory)
        rc = earliest(rc, error, config_check_memory(r->config, r->options->memory, &other), &other);
    rc = earliest(rc, error, kernels_check(r->config, m->list, m->count, &other), &other);
    if (!r->machine || (rc && rc != -E_INVAL)) return rc;
    ranges = r->machine->memory_count + r->machine->numa.range_count;
    arena.size = (size_t)count * (sizeof(*r->places) + 16 + (3 * ranges + 2) * sizeof(struct piece)) +
                 (4 * (size_t)(ranges + count) + 64) * sizeof(struct frame_range) + KIB(4);
    arena.base = r->arenas[2] = file_grow(NULL, arena.size);
    r->places = arena_alloc(&arena, count * sizeof(*r->places));
    if (!r->places) return -E_NOMEM;
    return earliest(rc, error, inventory_check(r->machine, r->config, &arena, r->places, &other), &other);
}

/* Kept in the order of the file. */
static void add_warning(void *ctx, const struct config_error *warning) {
    struct run *r = ctx;
    u32 at = r->warning_count++;

    r->warnings = file_grow(r->warnings, r->warning_count * sizeof(*r->warnings));
    for (; at && earlier(warning, &r->warnings[at - 1]); at--) r->warnings[at] = r->warnings[at - 1];
    r->warnings[at] = *warning;
}

static int warn(struct run *r) {
    const struct warnings warnings = {add_warning, r};

    inventory_warn(r->machine, r->config, r->places, &warnings);
    if (r->options->strict && r->warning_count) return mistake(r, &r->warnings[0]);
    for (u32 i = 0; i < r->warning_count; i++) {
        const struct config_error *e = &r->warnings[i];

        fprintf(stderr, "%s:%u:%u: warning: %s\n", r->options->file, e->line, e->column, e->what);
        print_source(r->text, r->length, e);
        fprintf(stderr, "  remedy: %s\n", e->remedy);
    }
    return EXIT_GOOD;
}

/* Under another name first: a picture is whole or not there. */
static int draw(const struct ownership *o, const char *path) {
    size_t length = strlen(path);
    struct stat status, file;
    char *name;
    FILE *f = NULL;
    int fd, error = 0;
    mode_t mask;

    if (stat(path, &status) == 0) {
        if (!S_ISREG(status.st_mode))
            return failed(path, S_ISDIR(status.st_mode) ? strerror(EISDIR) : "this is no regular file");
        if (stat(o->file, &file) == 0 && status.st_dev == file.st_dev && status.st_ino == file.st_ino)
            return failed(path, "this is the partition file; name another");
    }
    name = file_grow(NULL, length + 8);
    (void)snprintf(name, length + 8, "%s.XXXXXX", path);
    fd = mkstemp(name);
    if (fd < 0) {
        error = errno;
    } else {
        mask = umask(0);
        umask(mask);
        f = fchmod(fd, 0666 & ~mask) ? NULL : fdopen(fd, "w");
        if (f) svg_report(f, o);
        if (!f || ferror(f) || fflush(f)) error = errno ? errno : EIO;
        if ((f ? fclose(f) : close(fd)) && !error) error = errno;
        if (!error && rename(name, path)) error = errno;
        if (error) unlink(name);
    }
    free(name);
    return error ? failed(path, strerror(error)) : EXIT_GOOD;
}

static void print_line(void *ctx, const char *text) {
    (void)ctx;
    puts(text);
}

static int report(const struct run *r) {
    const struct options *o = r->options;
    struct ownership all = {.file = o->file,
                            .config = r->config,
                            .machine = r->machine,
                            .places = r->places,
                            .warnings = r->warnings,
                            .warning_count = r->warning_count};
    char *names = NULL;
    int rc = o->svg ? draw(&all, o->svg) : EXIT_GOOD;

    if (rc) return rc;
    if (r->machine && access(PCI_IDS_FILE, R_OK) == 0)
        all.pci_ids = names = file_read(PCI_IDS_FILE, SIZE_MAX - 1, &all.pci_ids_length);
    if (o->json) {
        json_report(stdout, &all);
    } else {
        config_report(r->config, print_line, NULL);
        if (r->machine) inventory_report(&all, print_line, NULL);
    }
    free(names);
    if (!fflush(stdout) && !ferror(stdout)) return EXIT_GOOD;
    return failed("standard output", strerror(errno));
}

static int check(struct run *r) {
    struct arena arena = {.size = CONFIG_ARENA_BYTES(r->length)};
    struct config_error error = {0};
    int rc;

    arena.base = r->arenas[0] = file_grow(NULL, arena.size);
    rc = config_parse(&arena, r->text, r->length, &r->config, &error);
    if (!rc) rc = check_machine(r, &error);
    if (rc == -E_NOENT) return EXIT_USAGE; /* told already */
    if (rc == -E_NOMEM) return failed(r->options->file, "out of memory");
    if (rc) return mistake(r, &error);
    rc = warn(r);
    return rc ? rc : report(r);
}

static void name_modules(struct options *o) {
    struct modules *m = &o->modules;

    if (!m->list) return;
    m->names = file_grow(NULL, (m->count + 1) * sizeof(*m->names));
    for (size_t i = 0; i < m->count; i++) m->names[i] = m->list[i].name;
    o->machine.modules = m->names;
    o->machine.module_count = (u32)m->count;
}

static void free_modules(struct modules *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->list[i].name);
        free(m->list[i].path);
    }
    free(m->list);
    free(m->names);
}

int main(int argc, char **argv) {
    struct options o = {0};
    struct run r = {.options = &o};
    char *text = NULL;
    int rc = EXIT_USAGE;

    for (int i = 1; i < argc; i++) {
        bool version = !strcmp(argv[i], "--version");

        if (version || !strcmp(argv[i], "--help"))
            return fputs(version ? "mullion-check (Mullion) " MULLION_VERSION "\n" : help, stdout) < 0 || fflush(stdout)
                       ? EXIT_USAGE
                       : EXIT_GOOD;
    }
    if (parse_options(argc, argv, &o)) goto out;
    if (o.hypervisor && kernels_check_hypervisor(o.hypervisor)) goto out;
    name_modules(&o);
    text = file_read(o.file, CONFIG_MAX_BYTES, &r.length);
    if (!text || (o.inventory && load_machine(&r))) goto out;
    r.text = text;
    rc = check(&r);
out:
    free(text);
    free(r.warnings);
    for (size_t i = 0; i < 3; i++) free(r.arenas[i]);
    free_modules(&o.modules);
    return rc;
}
