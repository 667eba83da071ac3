/* A partition's functions as they stand before its first start: what they need and where the guest finds them. Boot
 * core. */
#include "core/pass_impl.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/base/string.h"
#include "core/hostspace.h"
#include "core/machine.h"
#include "drivers/pci.h"
#include "drivers/pci_scan.h"

#define LARGE_BAR    MIB(256) /* wide BARs from here on lie above memory */
#define POOL_BASE    16u      /* stage-2 tables of the windows, and what the guest may use up for each BAR */
#define POOL_PER_BAR 4u
#define BARS_ALL     (PCI_BARS + 1)

static bool is_large(const struct pci_bar *b) { return b->wide && b->bytes >= LARGE_BAR; }

/* The bridge whose bus may be reset: all below it belongs to the same partition. */
static const struct pci_function *own_bridge(const struct pci_function *f, u8 owner) {
    const struct pci_function *bridge = f->virtual ? NULL : pci_parent(pass.functions, pass.count, f);

    for (u32 i = 0; bridge && i < pass.count; i++) {
        u32 bus = PCI_BUS(pass.functions[i].id);

        if (pass.functions[i].id >> 16 != f->id >> 16 || bus < bridge->secondary || bus > bridge->subordinate) continue;
        if (pass.owner[i] != owner || pass.functions[i].virtual) return NULL;
    }
    return bridge;
}

static u32 irqs_of(const struct pci_function *f) { return f->msix ? f->msix_entries : f->msi ? 1 : 0; }

static void add_function(struct partition *p, u32 index, const struct pci_function *f,
                         const struct config_range *grant) {
    struct passthrough *t = p->pci;
    struct pass_function *fn = &t->functions[index];
    u8 owner = (u8)(partition_number(p) + 1);

    *fn = (struct pass_function){
        .real = f, .bridge = own_bridge(f, owner), .gsi = grant->gsi, .has_gsi = grant->gsi != 0};
    fn->irqs = irqs_of(f);
    for (u32 i = 0; i < BARS_ALL; i++) fn->placed[i] = fn->wanted[i] = NEVER;
    if (f->msix) {
        fn->trap_offset = align_down(f->msix_offset, PAGE_4K);
        fn->trap_bytes = align_up(f->msix_offset + 16u * f->msix_entries, PAGE_4K) - fn->trap_offset;
    }
    t->guest[index] = (struct vpci_function){
        .real = f, .device = index + 1, .intx_pin = vpci_intx_pin(index + 1), .has_line = grant->gsi != 0};
}

static void tell_resets(const struct partition *p) {
    for (u32 i = 0; i < p->pci->count; i++) {
        const struct pass_function *f = &p->pci->functions[i];
        const char *way = pci_reset_way(f->real, f->bridge);
        char name[16];

        pci_name(name, sizeof(name), f->real->id);
        log_line("%s: %s: reset: %s", p->config->name, name, way ? way : "none");
    }
}

/* Stage-2 tables at most: of memory whose pages are as small as its addresses have them, and of BARs that are aligned
 * to their sizes but may have to do without pages of 1 GiB. */
static u64 tables_of(const struct region *r) {
    bool small = (r->gpa.v ^ r->hpa.v) & (PAGE_2M - 1);

    return r->bytes / (512 * PAGE_1G) + r->bytes / PAGE_1G + (small ? r->bytes / PAGE_2M : 0) + 6;
}

static u64 tables_of_bars(const struct pci_function *f) {
    u64 tables = 0;

    for (u32 i = 0; i < BARS_ALL; i++)
        tables += POOL_PER_BAR + (pass_bar(f, i)->io ? 0 : pass_bar(f, i)->bytes / PAGE_1G);
    return tables;
}

static u64 tables_of_all(const struct partition *p, u8 owner) {
    u64 tables = POOL_BASE;

    for (u32 i = 0; i < p->memory.count; i++) tables += tables_of(&p->regions[i]);
    for (u32 i = 0; i < pass.count; i++)
        if (pass.owner[i] == owner) tables += tables_of_bars(&pass.functions[i]);
    return tables;
}

/* What p's functions need, in one block that is mapped on its cores: the structures, then tables for all of stage 2. */
static void allocate(struct partition *p, u8 owner, u32 count, u32 irqs) {
    const u64 tables = tables_of_all(p, owner);
    u64 bytes = align_up(sizeof(*p->pci) + count * (sizeof(*p->pci->functions) + sizeof(*p->pci->guest)) +
                             irqs * (sizeof(*p->pci->irqs) + sizeof(struct vpci_vector)),
                         PAGE_4K);
    struct passthrough *t = hostspace_take(bytes + tables * PAGE_4K);
    struct vpci_vector *msix;
    u32 at = 0;

    p->pci = t;
    t->block = hostspace_pa(t);
    t->block_bytes = bytes + tables * PAGE_4K;
    t->pool = hpa(t->block.v + bytes);
    t->pool_pages = (u32)tables;
    t->pool_mem = (struct pt_mem){t, pass_pool_alloc, pass_pool_virt};
    t->irqs = (struct pass_irq *)(t + 1);
    msix = (struct vpci_vector *)(t->irqs + irqs);
    t->guest = (struct vpci_function *)(msix + irqs);
    t->functions = (struct pass_function *)(t->guest + count);
    for (u32 i = 0; i < pass.count; i++) {
        struct pass_function *f = &t->functions[t->count];

        if (pass.owner[i] != owner) continue;
        add_function(p, t->count, &pass.functions[i], pass.grant[i]);
        f->first_irq = at;
        t->guest[t->count].msix = msix + at;
        for (u32 k = 0; k <= f->irqs; k++) t->irqs[at++].function = t->count;
        t->count++;
    }
}

/* Where the guest finds each BAR at start. I/O ports begin where they are; memory is packed, each BAR aligned to
 * what the guest sees as its size. */
static int place_bars(struct partition *p, char *why, size_t why_size) {
    struct passthrough *t = p->pci;
    const struct region *last = &p->regions[p->memory.count - 1];
    u64 low = GUEST_PCI_HOLE, high = max_u64(align_up(last->gpa.v + last->bytes, PAGE_1G), GIB(4));
    u64 limit = BIT(cpuid_has_leaf(0x80000008) ? cpuid(0x80000008, 0).eax & 0xff : 36), start = 0;

    for (u32 i = 0; i < t->count; i++)
        for (u32 bar = 0; bar < BARS_ALL; bar++) {
            const struct pci_bar *b = pass_bar(t->functions[i].real, bar);
            u64 *at = is_large(b) ? &high : &low, align = vpci_bar_bytes(t->functions[i].real, bar);

            if (!b->bytes) continue;
            if (b->io) {
                t->guest[i].home[bar] = b->base;
                continue;
            }
            *at = align_up(*at, align);
            t->guest[i].home[bar] = *at;
            if (at == &high && !start) start = *at;
            *at += align;
        }
    if (low > GUEST_ECAM_BASE || high > limit) {
        fmt(why, why_size, "its device memory does not fit below 0x%llx; give it fewer functions",
            low > GUEST_ECAM_BASE ? GUEST_ECAM_BASE : (unsigned long long)limit);
        return -E_RANGE;
    }
    t->window64 = (struct config_range){.base = start ? start : high, .bytes = start ? high - start : 0};
    return 0;
}

/* Why the IOMMU's driver does not take a function, and what to do: the errors of struct iommu_ops. */
static const char *untaken(int error) {
    switch (error) {
    case -E_UNSUPPORTED:
        return "the firmware keeps memory open for it (RMRR); switch its use by the firmware off, or give another "
               "function";
    case -E_NOENT:
        return "no IOMMU translates it, by the firmware's table; update the firmware, or give another function";
    case -E_NOMEM: return "more interrupts than the IOMMU's table has room for; give fewer functions";
    case -E_OVERLAP: return "its identity is another function's; leave one of them out";
    default: return error_name(error);
    }
}

/* A message has 8 bits for the core that it goes to, and all ones is everybody; remapping knows more, or not. */
static int check_cores(const struct partition *p, char *why, size_t why_size) {
    u32 most = pass.iommu && pass.iommu->remaps_interrupts() ? pass.iommu->max_apic() : 0xfe;

    for (u32 i = 0; i < p->config->cpu_count; i++) {
        u32 core = (u32)p->config->cpus[i].base, apic = machine.boot->cores[core].apic_id;

        if (apic <= most) continue;
        fmt(why, why_size,
            "its devices' interrupts do not reach core %u, whose APIC id is 0x%x; give it cores up to 0x%x", core, apic,
            most);
        return -E_RANGE;
    }
    return 0;
}

/* Boot core: what the driver needs for each function. */
static int prepare_all(const struct partition *p, char *why, size_t why_size) {
    for (u32 i = 0; i < p->pci->count; i++) {
        const struct pass_function *f = &p->pci->functions[i];
        int error = pass.iommu->prepare(f->real->id, f->irqs);
        char name[16];

        if (!error) continue;
        pci_name(name, sizeof(name), f->real->id);
        fmt(why, why_size, "%s: %s", name, untaken(error));
        return error;
    }
    return 0;
}

static int open_dma(struct partition *p, char *why, size_t why_size) {
    struct passthrough *t = p->pci;
    struct pt dma;
    int error = 0;

    if (!pass.iommu) {
        if (p->config->dma_unprotected) {
            log_line(LOG_WARN "%s: WARNING: dma = \"unprotected\": its devices reach all memory of this machine",
                     p->config->name);
            return 0;
        }
        fmt(why, why_size, "%s; dma = \"unprotected\" would let its devices reach all memory", pass.why);
        return -E_UNSUPPORTED;
    }
    if (!pass.iommu->remaps_interrupts()) {
        if (!p->config->dma_unprotected) {
            fmt(why, why_size,
                "the IOMMU does not remap interrupts; dma = \"unprotected\" would let its devices forge them");
            return -E_UNSUPPORTED;
        }
        log_line(LOG_WARN "%s: WARNING: dma = \"unprotected\": its devices can send any interrupt to any core",
                 p->config->name);
    }
    if (pt_init(&dma, pass.iommu->tables(), &hostspace_mem,
                machine.boot->options.no_large_pages ? 1 : pass.iommu->max_leaf()))
        return -E_NOMEM;
    for (u32 i = 0; i < p->memory.count && !error; i++)
        if (p->regions[i].rights & RIGHT_WRITE)
            error = pt_map(&dma, p->regions[i].gpa.v, p->regions[i].hpa, p->regions[i].bytes, RIGHT_READ | RIGHT_WRITE,
                           MEM_WB);
    t->dma_root = dma.root;
    if (error) fmt(why, why_size, "the IOMMU's tables of its memory: %s", error_name(error));
    return error ? error : prepare_all(p, why, why_size);
}

/* I/O BARs are open where they are on the machine: the bitmap knows no other address. */
static void open_ports(struct partition *p) {
    for (u32 i = 0; i < p->pci->count; i++)
        for (u32 bar = 0; bar < PCI_BARS; bar++) {
            const struct pci_bar *b = &p->pci->functions[i].real->bars[bar];

            if (!b->bytes || !b->io || b->base < PASS_IO_LOWEST) continue;
            for (u64 k = 0; k < b->bytes; k++) machine.vendor->allow_port(&p->hw, (u16)(b->base + k));
        }
}

static void reach(void *ctx, u64 at, u64 bytes, enum memory_type memtype) {
    (void)ctx;
    hostspace_reach(at, bytes, memtype);
}

int passthrough_build(struct partition *p, char *why, size_t why_size) {
    u8 owner = (u8)(partition_number(p) + 1);
    u32 count = 0, irqs = 0;
    int error;

    for (u32 i = 0; i < pass.count; i++) {
        if (pass.owner[i] != owner) continue;
        count++;
        irqs += irqs_of(&pass.functions[i]) + 1; /* and its line */
    }
    if (!count) return 0;
    if (count > VPCI_MAX) {
        fmt(why, why_size, "it has %u functions, %u fit on its bus", count, VPCI_MAX);
        return -E_RANGE;
    }
    p->memory.ecam = true;
    allocate(p, owner, count, irqs);
    pass_callbacks(p);
    passthrough_pages(p, reach, NULL);
    error = pass_check_bars(p, owner, why, why_size);
    if (error) return error;
    open_ports(p);
    tell_resets(p);
    error = place_bars(p, why, why_size);
    if (!error) error = check_cores(p, why, why_size);
    return error ? error : open_dma(p, why, why_size);
}
