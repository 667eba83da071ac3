/* A partition file against an inventory, as the hypervisor would judge it at start and in its words
 * (core/pass_machine.c, core/pass_build.c, core/build.c): cores, memory, PCI functions. */
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/config/problem.h"
#include "core/config/schema.h"
#include "tools/inventory.h"

/* A check under way. */
struct checking {
    struct inventory *machine;
    const struct config *config;
    struct problems problems;
};

static u64 mib(u64 bytes) { return bytes >> 20; }

/* --- memory --- */

static int place(struct checking *c, const struct config_partition *p, struct frames *frames, struct placement *place,
                 u32 max) {
    u64 left = frames_free_bytes(frames);
    int n;

    if (p->fixed) {
        if (!frames_is_free(frames, p->address, p->memory) || frames_reserve(frames, p->address, p->memory)) {
            problem_add(&c->problems, p->address_at,
                        "partition %s: memory at 0x%llx is not free on this machine\n"
                        "choose another address, or leave `address` out",
                        p->name, (unsigned long long)p->address);
            return -E_INVAL;
        }
        place->pieces[0] = (struct piece){hpa(p->address), p->memory};
        n = 1;
    } else if (p->node_at.line) {
        const struct numa *numa = &c->machine->numa;

        n = frames_place_on(frames, numa->ranges, numa->range_count, p->node, p->memory, place->pieces, max);
        if (n < 0) {
            problem_add(&c->problems, p->node_at,
                        "too little memory on node %u for partition %s: it wants %llu MiB\n"
                        "lower `memory`, or leave `node` out: then other nodes help",
                        p->node, p->name, (unsigned long long)mib(p->memory));
            return -E_INVAL;
        }
    } else {
        const struct numa *numa = &c->machine->numa;

        n = numa_place(numa, frames, config_home_node(p, numa), p->memory, place->pieces, max);
    }
    if (n < 0) {
        problem_add(&c->problems, p->memory_at,
                    "too little memory for partition %s: it wants %llu MiB, %llu MiB are free\n"
                    "give the machine more memory or lower `memory`",
                    p->name, (unsigned long long)mib(p->memory), (unsigned long long)mib(left));
        return -E_INVAL;
    }
    place->count = (u32)n;
    return 0;
}

/* In the file's order, as at start. The first that does not fit ends it: what is left depends on it. */
static int check_memory(struct checking *c, struct arena *arena, struct placement *places) {
    const struct inventory *m = c->machine;
    u32 count = c->config->partition_count, pieces = 3 * (m->memory_count + m->numa.range_count);
    struct frames frames = {.count = m->memory_count, .max = 4 * (m->memory_count + count) + 64};

    frames.ranges = arena_alloc(arena, frames.max * sizeof(*frames.ranges));
    if (!frames.ranges) return -E_NOMEM;
    memcpy(frames.ranges, m->memory, m->memory_count * sizeof(*m->memory));
    for (u32 i = 0; i < count; i++) {
        places[i].pieces = arena_alloc(arena, (pieces + 1) * sizeof(*places[i].pieces));
        if (!places[i].pieces) return -E_NOMEM;
    }
    for (u32 i = 0; i < count; i++)
        if (place(c, &c->config->partitions[i], &frames, &places[i], pieces)) break;
    return 0;
}

/* --- PCI functions --- */

static void refuse(struct checking *c, const struct config_range *at, const char *what, const char *remedy) {
    problem_add(&c->problems, at->at, "pci: %s\n%s", what, remedy);
}

/* seen: functions of this kind so far. */
static bool matches(const struct config_range *g, const struct inventory_function *f, u32 *seen) {
    u64 key = g->base & BIT(63) ? CONFIG_PCI_DEVICE(f->vendor, f->device) : f->id;

    if ((g->base & BIT(63)) && (g->base & ~0xffffull) == key) key += (*seen)++;
    return key - g->base < g->bytes;
}

static bool exists(const struct checking *c, u64 id) {
    for (u32 i = 0; i < c->machine->function_count; i++)
        if (c->machine->functions[i].id == id) return true;
    return false;
}

/* Virtual functions come into being at start, so an inventory does not have them. Which ids they get it does not tell
 * either: any behind the physical one, on its bus or a later one of the segment. By vendor and device: any. */
static bool may_be_virtual(const struct checking *c, const struct config_range *g) {
    for (u32 i = 0; i < c->config->sriov_count; i++) {
        u64 physical = c->config->sriov[i].function;

        if (g->base & BIT(63) || (g->base > physical && g->base >> 16 == physical >> 16)) return true;
    }
    return false;
}

static void check_sriov(struct checking *c) {
    for (u32 i = 0; i < c->config->sriov_count; i++) {
        const struct config_sriov *s = &c->config->sriov[i];
        char name[16];

        inventory_name(name, sizeof(name), (u32)s->function);
        if (!exists(c, s->function))
            problem_add(&c->problems, s->function_at,
                        "sriov: %s: the machine has no such function\ncorrect the line, or remove it", name);
    }
}

static void give(struct checking *c, u32 partition, const struct config_range *g) {
    u32 seen = 0, given = 0;
    bool refused = false;
    char what[120], name[16];

    for (u32 i = 0; i < c->machine->function_count; i++) {
        struct inventory_function *f = &c->machine->functions[i];

        if (!matches(g, f, &seen)) continue;
        inventory_name(name, sizeof(name), f->id);
        if (inventory_shared(f)) {
            if (g->bytes > 1) continue;
            fmt(what, sizeof(what), "%s is a bridge or an IOMMU, which serves others as well", name);
            refuse(c, g, what, "name functions that are devices");
            refused = true;
            continue;
        }
        if (f->owner && f->owner != partition + 1) {
            fmt(what, sizeof(what), "%s belongs to partition %s already", name,
                c->config->partitions[f->owner - 1].name);
            refuse(c, g, what, "remove it from one of the two lists: each function has one owner");
            refused = true;
            continue;
        }
        f->owner = partition + 1;
        f->grant = g;
        given++;
    }
    if (!given && !refused && !may_be_virtual(c, g))
        refuse(c, g, "the machine has no such function", "the inventory lists those that there are");
}

/* Two owners in one group could reach each other's devices, and through them memory. */
static void check_groups(struct checking *c) {
    const struct config_partition *all = c->config->partitions;

    for (u32 i = 0; i < c->machine->function_count; i++)
        for (u32 k = 0; k < i; k++) {
            const struct inventory_function *f = &c->machine->functions[i], *g = &c->machine->functions[k];
            char a[16], b[16], what[160];

            if (!f->owner || !g->owner || f->owner == g->owner || f->group != g->group) continue;
            if (all[f->owner - 1].groups_split && all[g->owner - 1].groups_split) continue;
            inventory_name(a, sizeof(a), g->id);
            inventory_name(b, sizeof(b), f->id);
            fmt(what, sizeof(what), "%s and %s can reach each other without the IOMMU, yet belong to %s and %s", a, b,
                all[g->owner - 1].name, all[f->owner - 1].name);
            refuse(c, f->grant, what,
                   "give both to one partition; or set pci-groups = \"split\" in both: each can "
                   "then harm the other");
        }
}

/* The bridge above can reset a function whose bus is its owner's alone. Which bridge that is the inventory does not
 * tell; root buses other than 0 are taken for buses behind one. */
static bool bus_is_own(const struct inventory *m, const struct inventory_function *f) {
    if (PCI_BUS(f->id) == 0) return false;
    for (u32 i = 0; i < m->function_count; i++)
        if (m->functions[i].id >> 8 == f->id >> 8 && m->functions[i].owner != f->owner) return false;
    return true;
}

static void check_function(struct checking *c, const struct inventory_function *f) {
    const struct config_partition *p = &c->config->partitions[f->owner - 1];
    const struct inventory *m = c->machine;
    char name[16], what[120];

    if (!m->iommu && !p->dma_unprotected)
        refuse(c, f->grant, m->iommu_text[0] ? m->iommu_text : "the machine has no IOMMU",
               "dma = \"unprotected\" would let its devices reach all memory");
    else if (!m->interrupts && !p->dma_unprotected)
        refuse(c, f->grant, "the IOMMU does not remap interrupts",
               "dma = \"unprotected\" would let its devices forge them");
    inventory_name(name, sizeof(name), f->id);
    fmt(what, sizeof(what), "%s has no way to be reset", name);
    if (!f->flr && !f->pm_reset && !p->reset_optional && !bus_is_own(m, f))
        refuse(c, f->grant, what, "pci-reset = \"optional\" uses it all the same");
}

int inventory_check(struct inventory *machine, const struct config *config, struct arena *arena,
                    struct placement *places, struct config_error *error) {
    struct checking c = {machine, config, {.first = error}};
    const struct config_machine cores = {.cpu_count = machine->core_count, .numa = &machine->numa};
    struct config_error first;

    if (config_check_machine(config, &cores, &first))
        problem_add(&c.problems, (struct config_place){first.line, first.column}, "%s\n%s", first.what, first.remedy);
    if (check_memory(&c, arena, places)) return -E_NOMEM;
    for (u32 i = 0; i < config->partition_count; i++)
        for (u32 k = 0; k < config->partitions[i].pci_count; k++) give(&c, i, &config->partitions[i].pci[k]);
    check_sriov(&c);
    check_groups(&c);
    for (u32 i = 0; i < machine->function_count; i++)
        if (machine->functions[i].owner) check_function(&c, &machine->functions[i]);
    return c.problems.any ? -E_INVAL : 0;
}

/* --- legal but unwise --- */

static void warn(const struct warnings *out, struct config_place at, const char *text, ...) printf_like(3, 4);
static void warn(const struct warnings *out, struct config_place at, const char *text, ...) {
    struct config_error warning;
    struct problems one = {.first = &warning};
    va_list args;

    va_start(args, text);
    problem_add_v(&one, at, text, args);
    va_end(args);
    out->say(out->ctx, &warning);
}

/* The guest's first 2 MiB hold the PC's holes and take 4 KiB pages always (mm/region.h). */
static void warn_pages(const struct config_partition *p, const struct warnings *out) {
    if (p->memory < 2 * PAGE_2M)
        warn(out, p->memory_at,
             "partition %s gets no 2 MiB pages: the first 2 MiB of a guest are mapped by 4 KiB\n"
             "write \"4M\" or more, if it is to be fast",
             p->name);
    else if (!is_aligned(p->memory, PAGE_2M))
        warn(out, p->memory_at, "partition %s: the last %s of its memory get no 2 MiB page\nwrite \"%lluM\"", p->name,
             problem_size(p->memory & (PAGE_2M - 1)).text, (unsigned long long)mib(align_up(p->memory, PAGE_2M)));
}

/* Threads of one physical core share its caches and units: the owner of one slows the other down, and may read its
 * traces. */
static void warn_siblings(const struct inventory *m, const struct config *config, u32 index,
                          const struct warnings *out) {
    const struct config_partition *p = &config->partitions[index];

    for (u32 i = 0; i < p->cpu_count; i++)
        for (u32 other = 0; other < index; other++)
            for (u32 k = 0; k < config->partitions[other].cpu_count; k++) {
                u32 physical = inventory_physical(m, p->cpus[i].base);
                u64 sibling = config->partitions[other].cpus[k].base;

                if (physical == PHYSICAL_UNKNOWN || inventory_physical(m, sibling) != physical) continue;
                warn(out, p->cpus[i].at,
                     "core %u of %s and core %u of %s are threads of one physical core: each slows the other down\n"
                     "give both to one partition, or leave one of them out",
                     (u32)p->cpus[i].base, p->name, (u32)sibling, config->partitions[other].name);
                return; /* one is enough to make somebody look */
            }
}

static void warn_nodes(const struct inventory *m, const struct config_partition *p, const struct placement *place,
                       const struct warnings *out) {
    u32 home = config_home_node(p, &m->numa);
    u64 near = numa_bytes_on(&m->numa, home, place->pieces, place->count);
    struct config_place at = p->node_at.line ? p->node_at : p->fixed ? p->address_at : p->memory_at;

    if (home == NODE_NONE || !m->numa.range_count) return;
    if (near < p->memory)
        warn(out, at, "partition %s: %s of its %s lie on another node than its cores, which are on node %u\n%s",
             p->name, problem_size(p->memory - near).text, problem_size(p->memory).text, home,
             p->node_at.line ? "name the cores' node, or leave node out"
             : p->fixed      ? "write an address on that node, or leave address out"
                             : "give it cores of the other node, or less memory to those before it");
    for (u32 i = 0; i < p->cpu_count; i++) {
        u32 node = numa_node_of_core(&m->numa, p->cpus[i].base);

        if (node == home || node == NODE_NONE) continue;
        warn(out, p->cpus[i].at,
             "core %u of %s is on node %u, others are on node %u: memory is far for some of them\n%s",
             (u32)p->cpus[i].base, p->name, node, home, "give the partition cores of one node");
        return;
    }
}

static void warn_function(const struct inventory *m, const struct config *config, u32 index,
                          const struct warnings *out) {
    const struct inventory_function *f = &m->functions[index];
    const struct config_partition *p = &config->partitions[f->owner - 1];
    char name[16], other[16];

    inventory_name(name, sizeof(name), f->id);
    if (!m->iommu)
        warn(out, f->grant->at,
             "pci: %s reaches all memory of this machine: it has no IOMMU in use\n"
             "switch the IOMMU on in the firmware's setup, if there is one",
             name);
    else if (!m->interrupts)
        warn(out, f->grant->at,
             "pci: %s can forge interrupts: the IOMMU does not remap them\n"
             "switch interrupt remapping on in the firmware's setup, if there is any",
             name);
    if (!f->flr && !f->pm_reset && !bus_is_own(m, f))
        warn(out, f->grant->at,
             "pci: %s cannot be reset: a restarted partition finds it as it was left\n"
             "give a function with flr, or leave restart out",
             name);
    for (u32 k = 0; k < m->function_count; k++) {
        const struct inventory_function *g = &m->functions[k];

        if (k == index || g->group != f->group || g->owner == f->owner || inventory_shared(g)) continue;
        inventory_name(other, sizeof(other), g->id);
        warn(out, f->grant->at, "pci: %s of %s and %s of %s can reach each other without the IOMMU\n%s%s%s", name,
             p->name, other, g->owner ? config->partitions[g->owner - 1].name : "nobody",
             g->owner ? "give both to one partition" : "give it to ", g->owner ? "" : p->name,
             g->owner ? "" : " as well");
        return;
    }
}

void inventory_warn(const struct inventory *machine, const struct config *config, const struct placement *places,
                    const struct warnings *out) {
    for (u32 i = 0; i < config->partition_count; i++) {
        const struct config_partition *p = &config->partitions[i];

        warn_pages(p, out);
        if (machine) warn_siblings(machine, config, i, out);
        if (machine && places) warn_nodes(machine, p, &places[i], out);
        if (!machine && p->pci_count && p->dma_unprotected)
            warn(out, p->pci[0].at,
                 "partition %s: dma = \"unprotected\": without an IOMMU its devices reach all memory\n"
                 "leave dma out on a machine with an IOMMU",
                 p->name);
    }
    for (u32 i = 0; machine && i < machine->function_count; i++)
        if (machine->functions[i].owner) warn_function(machine, config, i, out);
}
