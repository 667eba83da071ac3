/* Arbitrary text through the partition file's parser, its checks and the report. Holds: the arena
 * that CONFIG_ARENA_BYTES promises is enough for any text; with less, nothing but -E_NOMEM or the
 * same answer comes out; a refusal names a place inside the text and says what to do; what is
 * accepted gives no core, memory or port to two owners; the report has a line for each and no
 * control character. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/config/schema.h"
#include "tools/report.h"
#include "test/fuzz/fuzz.h"

/* No control character of ASCII, nor one of those above it: U+0080 to U+009F. */
static bool printable(const char *text) {
    for (; *text; text++)
        if ((u8)*text < 0x20 || *text == 0x7f || ((u8)*text == 0xc2 && (u8)text[1] < 0xa0)) return false;
    return true;
}

static void check_error(const struct config_error *e, const u8 *data, size_t size) {
    u32 lines = 1;

    for (size_t i = 0; i < size; i++) lines += data[i] == '\n';
    REQUIRE(e->line <= lines);
    REQUIRE((e->line == 0) == (e->column == 0) && e->column <= size + 1);
    REQUIRE(memchr(e->what, 0, sizeof(e->what)) && e->what[0] && printable(e->what));
    REQUIRE(memchr(e->remedy, 0, sizeof(e->remedy)) && e->remedy[0] && printable(e->remedy));
}

static void check_partition(const struct config_partition *p) {
    REQUIRE(p->name && p->name[0] && strlen(p->name) <= CONFIG_MAX_NAME && printable(p->name));
    REQUIRE(p->cpu_count > 0);
    for (u32 i = 0; i < p->cpu_count; i++) REQUIRE(p->cpus[i].base <= CONFIG_MAX_CORE);
    REQUIRE(p->memory >= CONFIG_MIN_MEMORY && is_aligned(p->memory, PAGE_4K));
    REQUIRE(p->memory <= CONFIG_MAX_ADDRESS);
    if (p->fixed) REQUIRE(is_aligned(p->address, PAGE_2M) && p->address <= CONFIG_MAX_ADDRESS - p->memory);
    REQUIRE(p->kernel && p->kernel[0] && strlen(p->kernel) <= CONFIG_MAX_MODULE);
    REQUIRE(!p->initrd || p->initrd[0]);
    REQUIRE(!p->cmdline || strlen(p->cmdline) <= CONFIG_MAX_CMDLINE);
    for (u32 i = 0; i < p->port_count; i++)
        REQUIRE(p->ports[i].bytes && p->ports[i].bytes <= 0x10000 - p->ports[i].base);
    REQUIRE((p->restart_on & ~(u32)(RESTART_CRASH | RESTART_RESET)) == 0);
}

static void check_pair(const struct config_partition *a, const struct config_partition *b) {
    REQUIRE(strcmp(a->name, b->name) != 0);
    for (u32 i = 0; i < a->cpu_count; i++)
        for (u32 k = 0; k < b->cpu_count; k++) REQUIRE(a->cpus[i].base != b->cpus[k].base);
    if (a->fixed && b->fixed) REQUIRE(!ranges_overlap(a->address, a->memory, b->address, b->memory));
    for (u32 i = 0; i < a->port_count; i++)
        for (u32 k = 0; k < b->port_count; k++)
            REQUIRE(!ranges_overlap(a->ports[i].base, a->ports[i].bytes, b->ports[k].base, b->ports[k].bytes));
    for (u32 i = 0; i < a->pci_count; i++)
        for (u32 k = 0; k < b->pci_count; k++) REQUIRE(a->pci[i].base != b->pci[k].base);
}

struct seen {
    u32 lines, cores;
};

static void on_line(void *ctx, const char *text) {
    struct seen *seen = ctx;

    REQUIRE(strlen(text) < 320 && printable(text));
    seen->lines++;
    seen->cores += strncmp(text, "core ", 5) == 0;
}

static void check_config(const struct config *config) {
    u32 console = config->console;
    struct seen seen = {0};
    u32 cores = 0;

    REQUIRE(config->partition_count > 0);
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        check_partition(p);
        cores += p->cpu_count;
        for (u32 k = 0; k < i; k++) check_pair(p, &config->partitions[k]);
        for (u32 k = 0; console && k < p->port_count; k++)
            REQUIRE(!ranges_overlap(p->ports[k].base, p->ports[k].bytes, console, 8));
    }
    config_report(config, on_line, &seen);
    REQUIRE(seen.cores == cores && seen.lines > cores + 2 * config->partition_count);
}

/* What a machine that grants all but one thing says. */
static void check_machines(const struct config *config, const u8 *data, size_t size) {
    static const char *const modules[] = {"mullion.toml", "vmlinuz", "initrd", "loop.elf"};
    const struct config_machine machines[] = {
        {.cpu_count = 4},
        {.modules = modules, .module_count = ARRAY_SIZE(modules)},
        {0},
    };

    struct config_error memory = {0};

    if (config_check_memory(config, MIB(600), &memory)) check_error(&memory, data, size);
    for (u32 i = 0; i < ARRAY_SIZE(machines); i++) {
        struct config_error error = {0};
        int rc = config_check_machine(config, &machines[i], &error);

        REQUIRE(rc == 0 || rc == -E_INVAL);
        if (rc)
            check_error(&error, data, size);
        else if (machines[i].cpu_count)
            for (u32 k = 0; k < config->partition_count; k++)
                REQUIRE(config->partitions[k].cpus[0].base < machines[i].cpu_count);
    }
}

/* Parses in an arena of that size; the number of bytes used comes back in *used. */
static int parse(const u8 *data, size_t size, size_t arena_bytes, size_t *used) {
    struct arena arena = {.base = malloc(arena_bytes + 1), .size = arena_bytes};
    struct config_error error = {0};
    struct config *config = NULL;
    int rc = config_parse(&arena, (const char *)data, size, &config, &error);

    REQUIRE(rc == 0 || rc == -E_INVAL || rc == -E_NOMEM);
    if (rc == 0) {
        check_config(config);
        check_machines(config, data, size);
    } else {
        check_error(&error, data, size);
    }
    *used = arena.used;
    free(arena.base);
    return rc;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    size_t used, less;
    int rc = parse(data, size, CONFIG_ARENA_BYTES(size), &used), again;

    REQUIRE(rc != -E_NOMEM);
    again = parse(data, size, size ? used * data[size - 1] / 256 : 0, &less);
    REQUIRE(again == -E_NOMEM || again == rc);
    return 0;
}
