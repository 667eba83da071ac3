/* Checks that look at more than one key: who owns what twice, what fits, what exists. */
#include "core/config/schema.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "mm/region.h"

/* One thing that the file gives to a partition. */
struct claim {
    u64 base, bytes;
    const struct config_partition *owner;
    struct config_place at;
};

struct claims {
    struct claim *list;
    u32 count;
};

static bool claims_init(struct reader *r, struct claims *c, u32 most) {
    c->count = 0;
    c->list = reader_alloc(r, most * sizeof(*c->list));
    return c->list != NULL;
}

static void claim(struct claims *c, u64 base, u64 bytes, const struct config_partition *owner, struct config_place at) {
    c->list[c->count++] = (struct claim){base, bytes, owner, at};
}

/* The first pair that overlaps: *later stands behind *earlier in the file. Ends at the first one,
 * so that distinct cores and ports (65536 at most) bound the time. */
static bool find_conflict(const struct claims *c, const struct claim **earlier, const struct claim **later) {
    for (u32 i = 1; i < c->count; i++) {
        for (u32 k = 0; k < i; k++) {
            const struct claim *a = &c->list[k], *b = &c->list[i];

            if (!ranges_overlap(a->base, a->bytes, b->base, b->bytes)) continue;
            *earlier = place_before(b->at, a->at) ? b : a;
            *later = *earlier == a ? b : a;
            return true;
        }
    }
    return false;
}

static void report_double(struct reader *r, const struct claim *a, const struct claim *b, const char *what,
                          const char *key) {
    if (a->owner == b->owner)
        problem_add(&r->problems, b->at, "%s is listed twice in %s", what, key);
    else
        problem_add(&r->problems, b->at, "%s belongs to partition %s already (line %u)", what,
                    problem_quote(a->owner->name, strlen(a->owner->name)).text, a->at.line);
    problem_remedy(&r->problems, "remove it from one of the two lists: each has one owner");
}

static void check_cores(struct reader *r, const struct config *config) {
    const struct claim *a, *b;
    struct claims c;
    char what[32];
    u32 most = 0;

    for (u32 i = 0; i < config->partition_count; i++) most += config->partitions[i].cpu_count;
    if (!claims_init(r, &c, most)) return;
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        for (u32 k = 0; k < p->cpu_count; k++) claim(&c, p->cpus[k], 1, p, p->cpu_at[k]);
    }
    if (!find_conflict(&c, &a, &b)) return;
    fmt(what, sizeof(what), "core %u", (u32)b->base);
    report_double(r, a, b, what, "cpus");
}

void config_pci_text(char *out, size_t size, u32 function) {
    fmt(out, size, "%04x:%02x:%02x.%x", function >> 16, function >> 8 & 0xff, function >> 3 & 0x1f, function & 7);
}

static void check_pci(struct reader *r, const struct config *config) {
    const struct claim *a, *b;
    struct claims c;
    char what[48];
    u32 most = 0;

    for (u32 i = 0; i < config->partition_count; i++) most += config->partitions[i].pci_count;
    if (!claims_init(r, &c, most)) return;
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        for (u32 k = 0; k < p->pci_count; k++) claim(&c, p->pci[k], 1, p, p->pci_at[k]);
    }
    if (!find_conflict(&c, &a, &b)) return;
    config_pci_text(what, sizeof(what), (u32)b->base);
    report_double(r, a, b, what, "pci");
}

u16 config_console_port(const char *console) {
    static const u16 ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

    if (str_starts(console, "com") && console[3] >= '1' && console[3] <= '4') return ports[console[3] - '1'];
    return 0;
}

/* Ports that no partition can be given, and why. */
static const struct {
    u16 first, last;
    const char *owner;
} taken_ports[] = {
    /* A transfer that one partition programs here reaches the memory of all. */
    {0x00, 0x0f, "the ISA DMA controller, which reaches all memory"},
    {0xc0, 0xdf, "the ISA DMA controller, which reaches all memory"},
    {0xe9, 0xe9, "the hypervisor's debug console"},
    /* The devices of the small PC that every partition has: core/vdev/board.h. */
    {0x20, 0x21, "the partition's own 8259"},
    {0x40, 0x43, "the partition's own 8254"},
    {0x60, 0x60, "the partition's own keyboard controller"},
    {0x61, 0x61, "the partition's own 8254"},
    {0x64, 0x64, "the partition's own keyboard controller"},
    {0x70, 0x71, "the partition's own RTC"},
    {0x92, 0x92, "the partition's own reset port"},
    {0xa0, 0xa1, "the partition's own 8259"},
    {0x3f8, 0x3ff, "the partition's own UART"},
    {0x4d0, 0x4d1, "the partition's own 8259"},
    {0x600, 0x60b, "the partition's own ACPI block"},
    {0xcf8, 0xcff, "the partition's own PCI configuration"},
};

static void check_port(struct reader *r, const struct config *config, struct config_range range,
                       struct config_place at) {
    u16 console = config_console_port(config->console);
    const char *owner = NULL;
    u64 first = 0, last = 0;

    if (console && ranges_overlap(range.base, range.bytes, console, 8)) {
        owner = "the hypervisor's console";
        first = console;
        last = console + 7u;
    }
    for (u32 i = 0; i < ARRAY_SIZE(taken_ports) && !owner; i++) {
        first = taken_ports[i].first;
        last = taken_ports[i].last;
        if (ranges_overlap(range.base, range.bytes, first, last - first + 1)) owner = taken_ports[i].owner;
    }
    if (!owner) return;
    problem_add(&r->problems, at, "port 0x%llx belongs to %s", (unsigned long long)max_u64(range.base, first), owner);
    if (first == last)
        problem_remedy(&r->problems, "leave 0x%llx out of ports", (unsigned long long)first);
    else
        problem_remedy(&r->problems, "leave 0x%llx-0x%llx out of ports", (unsigned long long)first,
                       (unsigned long long)last);
}

static void check_ports(struct reader *r, const struct config *config) {
    const struct claim *a, *b;
    struct claims c;
    char what[32];
    u32 most = 0;

    for (u32 i = 0; i < config->partition_count; i++) most += config->partitions[i].port_count;
    if (!claims_init(r, &c, most)) return;
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        for (u32 k = 0; k < p->port_count; k++) {
            check_port(r, config, p->ports[k], p->port_at[k]);
            claim(&c, p->ports[k].base, p->ports[k].bytes, p, p->port_at[k]);
        }
    }
    if (!find_conflict(&c, &a, &b)) return;
    fmt(what, sizeof(what), "port 0x%llx", (unsigned long long)max_u64(a->base, b->base));
    report_double(r, a, b, what, "ports");
}

static void check_addresses(struct reader *r, const struct config *config) {
    const struct claim *a, *b;
    struct claims c;

    if (!claims_init(r, &c, config->partition_count)) return;
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];
        struct config_place at = {p->line_address, p->column_address};

        if (!p->fixed || !p->memory) continue;
        if (p->memory > CONFIG_MAX_ADDRESS - p->address) {
            problem_add(&r->problems, at, "memory from 0x%llx on ends beyond 52 bits", (unsigned long long)p->address);
            problem_remedy(&r->problems, "leave address out: the hypervisor finds a place");
            continue;
        }
        claim(&c, p->address, p->memory, p, at);
    }
    if (!find_conflict(&c, &a, &b)) return;
    problem_add(&r->problems, b->at, "memory 0x%llx-0x%llx overlaps that of %s (line %u)", (unsigned long long)b->base,
                (unsigned long long)(b->base + b->bytes - 1),
                problem_quote(a->owner->name, strlen(a->owner->name)).text, a->at.line);
    problem_remedy(&r->problems, "write address = \"0x%llx\", or leave address out",
                   (unsigned long long)align_up(a->base + a->bytes, PAGE_2M));
}

/* Where a flat image may lie: the guest's RAM from 1 MiB to the PCI hole. */
static void check_guest_address(struct reader *r, const struct config_partition *p, const char *key, u64 value,
                                struct config_place at) {
    u64 end = min_u64(p->memory, GUEST_PCI_HOLE);

    if (!at.line) return;
    if (p->format != IMAGE_FLAT) {
        problem_add(&r->problems, at, "%s is for images of format \"flat\" only", key);
        problem_remedy(&r->problems, "add format = \"flat\", or remove %s", key);
    } else if (p->memory && (value < GUEST_HIGHMEM_BASE || value >= end)) {
        problem_add(&r->problems, at, "%s 0x%llx lies outside the partition's memory", key, (unsigned long long)value);
        problem_remedy(&r->problems, "write an address from \"0x%llx\" to \"0x%llx\"", GUEST_HIGHMEM_BASE,
                       (unsigned long long)end - 1);
    }
}

static void check_flat(struct reader *r, const struct config_partition *p) {
    check_guest_address(r, p, "load", p->load_address, p->load_at);
    check_guest_address(r, p, "entry", p->entry, p->entry_at);
    if (!p->entry_at.line || p->entry >= p->load_address) return;
    problem_add(&r->problems, p->entry_at, "entry 0x%llx lies before the image at 0x%llx", (unsigned long long)p->entry,
                (unsigned long long)p->load_address);
    problem_remedy(&r->problems, "write \"0x%llx\" or more, or leave entry out", (unsigned long long)p->load_address);
}

static void check_focus(struct reader *r, const struct config *config) {
    if (!config->focus || r->lost_table) return;
    for (u32 i = 0; i < config->partition_count; i++)
        if (str_equal(config->focus, config->partitions[i].name)) return;
    problem_add(&r->problems, config->focus_at, "focus names no partition: %s",
                problem_quote(config->focus, strlen(config->focus)).text);
    if (config->partition_count)
        problem_remedy(&r->problems, "write a partition's name, for example \"%s\"",
                       problem_quote(config->partitions[0].name, strlen(config->partitions[0].name)).text);
    else
        problem_remedy(&r->problems, "add [partition.NAME], or leave focus out");
}

int config_cross_check(struct reader *r, const struct config *config) {
    check_focus(r, config);
    check_cores(r, config);
    check_ports(r, config);
    check_pci(r, config);
    check_addresses(r, config);
    for (u32 i = 0; i < config->partition_count; i++) check_flat(r, &config->partitions[i]);
    return r->nomem ? -E_NOMEM : 0;
}
