/* The ownership report: each core, memory range, port, interrupt, PCI function and module with its
 * owner, one table of three columns; and the check of memory. */
#include "tools/report.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/config/schema.h"

int config_check_memory(const struct config *config, u64 memory, struct config_error *error) {
    struct problems problems = {.first = error};
    u64 left = memory;

    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        if (p->memory <= left) {
            left -= p->memory;
            continue;
        }
        problem_add(&problems, p->memory_at,
                    left < CONFIG_MIN_MEMORY ? "memory %s does not fit: of the machine's %s free only %s is left\n"
                                               "give the partitions before it less memory"
                                             : "memory %s does not fit: of the machine's %s free only %s is left\n"
                                               "write at most \"%s\", or give other partitions less",
                    problem_size(p->memory).text, problem_size(align_down(memory, PAGE_4K)).text,
                    problem_size(align_down(left, PAGE_4K)).text, problem_size(align_down(left, MIB(1))).text);
        return -E_INVAL;
    }
    return 0;
}

struct report {
    void (*line)(void *ctx, const char *text);
    void *ctx;
};

static void row(const struct report *r, const char *what, const char *which, const char *owner, const char *note) {
    char text[320];

    fmt(text, sizeof(text), "%-10s %-28s %s%s%s", what, which, owner, *note ? ", " : "", note);
    r->line(r->ctx, text);
}

static void report_cores(const struct report *r, const struct config_partition *p) {
    char which[24], note[24];

    for (u32 i = 0; i < p->cpu_count; i++) {
        fmt(which, sizeof(which), "%u", (u32)p->cpus[i].base);
        fmt(note, sizeof(note), "vcpu %u", i);
        row(r, "core", which, p->name, note);
    }
}

static void report_memory(const struct report *r, const struct config_partition *p) {
    char which[48] = "placed at start";

    if (p->node_at.line) fmt(which, sizeof(which), "placed on node %u", p->node);

    if (p->fixed)
        fmt(which, sizeof(which), "0x%llx-0x%llx", (unsigned long long)p->address,
            (unsigned long long)(p->address + p->memory - 1));
    row(r, "memory", which, p->name, problem_size(p->memory).text);
}

static void report_ports(const struct report *r, const struct config *config) {
    u32 console = config->console;
    char which[24];

    if (console) {
        fmt(which, sizeof(which), "0x%x-0x%x", console, console + 7u);
        row(r, "port", which, "hypervisor", "console");
    }
    row(r, "port", "0xe9", "hypervisor", "debug console");
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        for (u32 k = 0; k < p->port_count; k++) {
            u32 first = (u32)p->ports[k].base, last = first + (u32)p->ports[k].bytes - 1;

            fmt(which, sizeof(which), first == last ? "0x%x" : "0x%x-0x%x", first, last);
            row(r, "port", which, p->name, "");
        }
    }
    row(r, "port", "all others", "nobody", "closed to partitions");
}

static void report_pci(const struct report *r, const struct config_partition *p) {
    char which[24];

    for (u32 i = 0; i < p->pci_count; i++) {
        config_pci_text(which, sizeof(which), p->pci[i].base);
        if (p->pci[i].bytes > 1) which[strlen(which) - 1] = '*';
        row(r, "pci", which, p->name, "");
    }
}

static void report_control(const struct report *r, const struct config *config, u32 by) {
    for (u32 i = 0; i < config->partition_count; i++)
        if (config_controls(config, by, i))
            row(r, "control", config->partitions[i].name, config->partitions[by].name, "stops and starts it");
}

void config_report(const struct config *config, void (*line)(void *ctx, const char *text), void *ctx) {
    struct report r = {line, ctx};

    row(&r, "what", "which", "owner", "");
    for (u32 i = 0; i < config->partition_count; i++) report_cores(&r, &config->partitions[i]);
    for (u32 i = 0; i < config->partition_count; i++) report_memory(&r, &config->partitions[i]);
    report_ports(&r, config);
    row(&r, "interrupt", "all machine lines", "hypervisor", "partitions get virtual ones");
    for (u32 i = 0; i < config->sriov_count; i++) {
        char which[48], what[48];

        config_pci_text(which, sizeof(which), config->sriov[i].function);
        fmt(what, sizeof(what), "hypervisor, enables %u virtual functions", (u32)config->sriov[i].vfs);
        row(&r, "sriov", which, what, "");
    }
    for (u32 i = 0; i < config->partition_count; i++) report_pci(&r, &config->partitions[i]);
    for (u32 i = 0; i < config->partition_count; i++) report_control(&r, config, i);
    /* A module is copied at start, so that two partitions may name the same one. */
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        row(&r, "module", p->kernel, p->name, "kernel");
        if (p->initrd) row(&r, "module", p->initrd, p->name, "initrd");
        for (u32 k = 0; k < p->module_count; k++) row(&r, "module", p->modules[k], p->name, "module");
    }
}

void ownership_name(const struct ownership *o, const struct inventory_function *f, char out[PCI_IDS_NAME]) {
    struct pci_ids_entry entry = {.vendor = f->vendor, .device = f->device};

    if (o->pci_ids) pci_ids_find(o->pci_ids, o->pci_ids_length, &entry, 1);
    pci_ids_text(&entry, false, out, PCI_IDS_NAME);
}

static void report_function(const struct report *r, const struct ownership *o, const struct inventory_function *f) {
    char which[64], name[16], known[PCI_IDS_NAME];

    inventory_name(name, sizeof(name), f->id);
    fmt(which, sizeof(which), "%s %04x:%04x %s", name, f->vendor, f->device, f->kind);
    ownership_name(o, f, known);
    row(r, "function", which,
        f->owner              ? o->config->partitions[f->owner - 1].name
        : inventory_shared(f) ? "hypervisor"
                              : "nobody",
        known);
}

static bool first_of_its_core(const struct inventory *m, u32 core) {
    for (u32 i = 0; i < core; i++)
        if (inventory_physical(m, i) == inventory_physical(m, core)) return false;
    return true;
}

/* The cores that belong to node `number`, or, with `threads`, to physical core `number`. Returns how many. */
static u32 list_cores(const struct inventory *m, bool threads, u32 number, char *out, size_t size) {
    size_t n = 0;
    u32 count = 0;

    out[0] = 0;
    for (u32 i = 0; i < m->core_count; i++) {
        if ((threads ? inventory_physical(m, i) : numa_node_of_core(&m->numa, i)) != number) continue;
        if (n < size) n += fmt(out + n, size - n, count ? ", %u" : "%u", i);
        count++;
    }
    if (n >= size) memcpy(out + size - 4, "...", 4);
    return count;
}

/* Which cores and which memory are near each other, and which cores are threads of one. */
static void report_nodes(const struct report *r, const struct inventory *m) {
    char which[48], cores[160], text[200];

    for (u32 node = numa_next(&m->numa, NODE_NONE); node != NODE_NONE; node = numa_next(&m->numa, node)) {
        u64 bytes = 0;

        for (u32 i = 0; i < m->memory_count; i++) {
            const struct piece whole = {hpa(m->memory[i].base), m->memory[i].bytes};

            bytes += numa_bytes_on(&m->numa, node, &whole, 1);
        }
        fmt(which, sizeof(which), "%u, %llu MiB free", node, (unsigned long long)(bytes >> 20));
        fmt(text, sizeof(text), list_cores(m, false, node, cores, sizeof(cores)) ? "cores %s" : "no cores%s", cores);
        row(r, "node", which, text, "");
    }
    for (u32 i = 0; i < m->core_count; i++) {
        u32 physical = inventory_physical(m, i);

        if (physical == PHYSICAL_UNKNOWN || !first_of_its_core(m, i)) continue;
        if (list_cores(m, true, physical, cores, sizeof(cores)) < 2) continue;
        fmt(text, sizeof(text), "cores %s", cores);
        row(r, "threads", "of one physical core", text, "");
    }
}

void inventory_report(const struct ownership *o, void (*line)(void *ctx, const char *text), void *ctx) {
    const struct config *config = o->config;
    struct report r = {line, ctx};
    char which[48];

    for (u32 core = 0; core < o->machine->core_count; core++) {
        if (config_core_owner(config, core)) continue;
        fmt(which, sizeof(which), "%u", core);
        row(&r, "core", which, "nobody", "");
    }
    for (u32 i = 0; o->places && i < config->partition_count; i++)
        for (u32 k = 0; k < o->places[i].count; k++) {
            const struct piece *piece = &o->places[i].pieces[k];

            fmt(which, sizeof(which), "0x%llx-0x%llx", (unsigned long long)piece->base.v,
                (unsigned long long)(piece->base.v + piece->bytes - 1));
            row(&r, "placed", which, config->partitions[i].name, problem_size(piece->bytes).text);
        }
    report_nodes(&r, o->machine);
    for (u32 i = 0; i < o->machine->function_count; i++) report_function(&r, o, &o->machine->functions[i]);
}

u32 config_core_owner(const struct config *config, u32 core) {
    for (u32 i = 0; i < config->partition_count; i++)
        for (u32 k = 0; k < config->partitions[i].cpu_count; k++)
            if (config->partitions[i].cpus[k].base == core) return i + 1;
    return 0;
}
