/* Checks that look at more than one key: who owns what twice, what fits, what exists. */
#include "core/config/schema.h"

#include "core/base/bits.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "mm/region.h"

void config_pci_text(char *out, size_t size, u64 function) {
    u32 f = (u32)function;

    if (function & BIT(63))
        fmt(out, size, "%04x:%04x#%u", (u32)bits_get(function, 32, 16), f >> 16, f & 0xffff);
    else
        fmt(out, size, "%04x:%02x:%02x.%x", f >> 16, f >> 8 & 0xff, f >> 3 & 0x1f, f & 7);
}

/* A partition's elements of one list. */
struct owned {
    const struct config_range *list;
    u32 count;
};

static struct owned owned(const struct config_partition *p, const struct key_rule *rule) {
    const void *list = (const char *)p + rule->field, *count = (const char *)p + rule->list->count;

    return (struct owned){*(struct config_range *const *)list, *(const u32 *)count};
}

static void report_double(struct reader *r, const struct key_rule *rule, const struct config_range *a,
                          const struct config_partition *owner, const struct config_range *b, bool same) {
    char what[48], whose[96];

    rule->list->name(what, sizeof(what), max_u64(a->base, b->base));
    fmt(whose, sizeof(whose), same ? "is listed twice in %s" : "belongs to partition %s already (line %u)",
        same ? rule->name : problem_quote(owner->name, strlen(owner->name)).text, a->at.line);
    problem_add(&r->problems, b->at, "%s %s\n%s", what, whose,
                same ? "list it once" : "remove it from one of the two lists: each has one owner");
}

/* The first element that overlaps `b`, element `index` of partition `last`, among those before it. */
static const struct config_range *find_earlier(const struct config *config, const struct key_rule *rule, u32 last,
                                               u32 index, const struct config_range *b, u32 *owner) {
    for (u32 i = 0; i <= last; i++) {
        struct owned other = owned(&config->partitions[i], rule);

        for (u32 k = 0; k < (i == last ? index : other.count); k++) {
            const struct config_range *a = other.list + k;

            *owner = i;
            if (ranges_overlap(a->base, a->bytes, b->base, b->bytes)) return a;
        }
    }
    return NULL;
}

/* Ends at the first pair, so that distinct cores and ports (65536 at most) bound the time. */
static void check_list(struct reader *r, const struct config *config, const struct key_rule *rule) {
    for (u32 i = 0; i < config->partition_count; i++) {
        struct owned mine = owned(&config->partitions[i], rule);

        for (u32 k = 0; k < mine.count; k++) {
            const struct config_range *a, *b = &mine.list[k];
            u32 owner = 0;

            a = find_earlier(config, rule, i, k, b, &owner);
            if (!a) continue;
            if (place_before(b->at, a->at))
                report_double(r, rule, b, &config->partitions[i], a, owner == i);
            else
                report_double(r, rule, a, &config->partitions[owner], b, owner == i);
            return;
        }
    }
}

/* Ports that no partition can be given, and why. */
static const struct taken_port {
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

static void check_port(struct reader *r, const struct config *config, const struct config_range *range) {
    struct taken_port hit = {(u16)config->console, (u16)(config->console + 7),
                             config->console ? "the hypervisor's console" : NULL};
    u32 i = 0;

    while (!hit.owner || !ranges_overlap(range->base, range->bytes, hit.first, hit.last - hit.first + 1u)) {
        if (i == ARRAY_SIZE(taken_ports)) return;
        hit = taken_ports[i++];
    }
    problem_add(&r->problems, range->at,
                hit.first == hit.last ? "port 0x%llx belongs to %s\nleave 0x%x out of ports"
                                      : "port 0x%llx belongs to %s\nleave 0x%x-0x%x out of ports",
                (unsigned long long)max_u64(range->base, hit.first), hit.owner, hit.first, hit.last);
}

/* ISA interrupts of the UARTs: 4 for COM1 and COM3, 3 for COM2 and COM4. */
static void check_line(struct reader *r, const struct config *config, const struct config_range *function) {
    if (config->console && function->gsi == (config->console >= 0x300 ? 4 : 3))
        problem_add(&r->problems, function->at,
                    "irq %u is the line of the hypervisor's console\nname the function's own line, or leave irq out",
                    function->gsi);
}

static void check_address(struct reader *r, const struct config *config, const struct config_partition *p) {
    if (p->fixed && p->node_at.line)
        problem_add(&r->problems, p->node_at,
                    "address says where the memory of %s lies, and with it the node\nremove node, or address", p->name);
    if (!p->fixed || !p->memory) return;
    if (p->memory > CONFIG_MAX_ADDRESS - p->address)
        problem_add(&r->problems, p->address_at,
                    "memory from 0x%llx on ends beyond 52 bits\nleave address out: the hypervisor finds a place",
                    (unsigned long long)p->address);
    for (const struct config_partition *q = config->partitions; q < p; q++) {
        const struct config_partition *a = place_before(p->address_at, q->address_at) ? p : q, *b = a == p ? q : p;

        if (q->fixed && ranges_overlap(p->address, p->memory, q->address, q->memory))
            problem_add(&r->problems, b->address_at,
                        "memory 0x%llx-0x%llx overlaps that of %s (line %u)\n"
                        "write address = \"0x%llx\", or leave address out",
                        (unsigned long long)b->address, (unsigned long long)(b->address + b->memory - 1),
                        problem_quote(a->name, strlen(a->name)).text, a->address_at.line,
                        (unsigned long long)align_up(a->address + a->memory, PAGE_2M));
    }
}

/* Keys of flat images; the addresses below the end of the guest's RAM under the PCI hole. */
static void check_flat_key(struct reader *r, const struct config_partition *p, const char *key, u64 value,
                           struct config_place at) {
    unsigned long long end = min_u64(p->memory, GUEST_PCI_HOLE);

    if (!at.line) return;
    if (p->format != IMAGE_FLAT)
        problem_add(&r->problems, at, "%s is for images of format \"flat\" only\nadd format = \"flat\", or remove %s",
                    key, key);
    else if (p->memory && value >= end)
        problem_add(&r->problems, at,
                    "%s 0x%llx lies outside the partition's memory\nwrite an address up to \"0x%llx\"", key,
                    (unsigned long long)value, end - 1);
}

static void check_flat(struct reader *r, const struct config_partition *p) {
    unsigned long long load = p->load_address;

    check_flat_key(r, p, "load", load, p->load_at);
    check_flat_key(r, p, "entry", p->entry, p->entry_at);
    check_flat_key(r, p, "mode", 0, p->mode_at);
    if (p->entry_at.line && p->entry < load)
        problem_add(&r->problems, p->entry_at,
                    "entry 0x%llx lies before the image at 0x%llx\nwrite \"0x%llx\" or more, or leave entry out",
                    (unsigned long long)p->entry, load, load);
}

static void check_debug_exit(struct reader *r, const struct config *config, const struct config_partition *p) {
    const struct config_range port = {.base = p->debug_exit, .bytes = 4, .at = p->debug_exit_at};

    if (!p->debug_exit_at.line) return;
    if (p->debug_exit == 0 || p->debug_exit > 0xfffc)
        problem_add(&r->problems, p->debug_exit_at, "debug-exit 0x%llx is no port\nwrite for example \"0xf4\"",
                    (unsigned long long)p->debug_exit);
    check_port(r, config, &port);
    for (u32 i = 0; i < p->port_count; i++)
        if (ranges_overlap(p->ports[i].base, p->ports[i].bytes, port.base, port.bytes))
            problem_add(&r->problems, port.at, "debug-exit is one of the machine's ports too\nleave it out of ports");
}

#define CONTROL_PORT 0x2f8u

/* Looks the names up; the control device's ports cannot be the machine's as well. */
static void check_control(struct reader *r, const struct config *config, struct config_partition *p) {
    const struct config_range exit = {.base = p->debug_exit, .bytes = 4, .at = p->debug_exit_at};

    if (!p->control_at.line) return;
    for (u32 i = 0; i <= p->port_count; i++) {
        const struct config_range *range = i < p->port_count ? &p->ports[i] : &exit;

        if (range->at.line && ranges_overlap(range->base, range->bytes, CONTROL_PORT, 8))
            problem_add(&r->problems, range->at,
                        "ports 0x2f8-0x2ff are the control device's\nleave them out, or leave control out");
    }
    if (p->control_all && config->partition_count == 1 && !r->lost_table)
        problem_add(&r->problems, p->control_at, "there is no other partition to control\nleave control out");
    for (u32 i = 0; i < p->control_count && !r->lost_table; i++) {
        struct config_grant *g = &p->control[i];
        const char *name = problem_quote(g->name, strlen(g->name)).text;

        while (g->partition < config->partition_count && !str_equal(g->name, config->partitions[g->partition].name))
            g->partition++;
        if (g->partition == config->partition_count)
            problem_add(&r->problems, g->at,
                        "control names no partition: %s\nwrite a partition's name, or \"*\" for all", name);
        else if (&config->partitions[g->partition] == p)
            problem_add(&r->problems, g->at,
                        "%s cannot control itself\nremove its name: it can reset and power off without that", name);
        for (u32 k = 0; k < i; k++)
            if (p->control[k].partition == g->partition)
                problem_add(&r->problems, g->at, "%s is listed twice in control\nremove one of the two", name);
    }
}

static void check_focus(struct reader *r, const struct config *config) {
    if (!config->focus || r->lost_table) return;
    for (u32 i = 0; i < config->partition_count; i++)
        if (str_equal(config->focus, config->partitions[i].name)) return;
    problem_add(&r->problems, config->focus_at,
                config->partition_count ? "focus names no partition: %s\nwrite a partition's name, for example \"%s\""
                                        : "focus names no partition: %s\nadd [partition.NAME], or leave focus out%s",
                problem_quote(config->focus, strlen(config->focus)).text,
                config->partition_count
                    ? problem_quote(config->partitions[0].name, strlen(config->partitions[0].name)).text
                    : "");
}

void config_cross_check(struct reader *r, const struct config *config) {
    check_focus(r, config);
    for (u32 i = 0; i < config->partition_count; i++) {
        struct config_partition *p = &config->partitions[i];

        for (u32 k = 0; k < p->port_count; k++) check_port(r, config, &p->ports[k]);
        for (u32 k = 0; k < p->pci_count; k++) check_line(r, config, &p->pci[k]);
        check_address(r, config, p);
        check_flat(r, p);
        check_debug_exit(r, config, p);
        check_control(r, config, p);
    }
    /* After check_port: of two problems at one place the first stays. */
    for (const struct key_rule *rule = config_partition_keys; rule->name; rule++)
        if (rule->list) check_list(r, config, rule);
}
