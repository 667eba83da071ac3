/* The partition's side of passthrough: where its functions' memory lies for the guest, their DMA, their start and end.
 */
#include "core/pass_impl.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/hostspace.h"
#include "core/log.h"
#include "core/machine.h"
#include "drivers/pci.h"
#include "drivers/pci_scan.h"

#define BARS_ALL (PCI_BARS + 1)

void pci_name(char *out, size_t size, u32 id) {
    if (id >> 16)
        fmt(out, size, "%04x:%02x:%02x.%u", id >> 16, PCI_BUS(id), PCI_DEVICE(id), PCI_FUNCTION(id));
    else
        fmt(out, size, "%02x:%02x.%u", PCI_BUS(id), PCI_DEVICE(id), PCI_FUNCTION(id));
}

/* --- configuration space --- */

static u32 config_read(void *ctx, u32 f, u32 offset, u32 size) {
    return pci_read(((const struct partition *)ctx)->pci->functions[f].real, offset, size);
}
static void config_write(void *ctx, u32 f, u32 offset, u32 size, u32 value) {
    pci_write(((const struct partition *)ctx)->pci->functions[f].real, offset, size, value);
}

/* --- stage 2 of device memory --- */

/* Tables after start come from the partition's own pool: a guest that uses it up by moving its BARs has done itself
 * harm only. */
int pass_pool_alloc(void *ctx, hpa_t *page) {
    struct passthrough *t = ctx;

    if (t->pool_used == t->pool_pages) return -E_NOMEM;
    *page = hpa(t->pool.v + PAGE_4K * t->pool_used++);
    return 0;
}
u64 *pass_pool_virt(void *ctx, hpa_t page) {
    (void)ctx;
    return (u64 *)(page.v + DIRECT_BASE);
}

static bool in_window(const struct passthrough *t, u64 at, u64 bytes) {
    if (at >= GUEST_PCI_HOLE && at < GUEST_ECAM_BASE) return bytes <= GUEST_ECAM_BASE - at;
    return at >= t->window64.base && at - t->window64.base < t->window64.bytes &&
           bytes <= t->window64.bytes - (at - t->window64.base);
}

/* Maps or unmaps [from, to) of a BAR, whole pages. */
static int change(struct passthrough *t, u64 at, const struct pci_bar *b, u64 from, u64 to, bool map) {
    u64 first = align_down(at + from, PAGE_4K), last = align_up(at + to, PAGE_4K);

    if (from >= to) return 0;
    if (!map) return pt_unmap(&t->stage2, first, last - first);
    return pt_map(&t->stage2, first, hpa(align_down(b->base + from, PAGE_4K)), last - first, RIGHT_READ | RIGHT_WRITE,
                  MEM_UC);
}

/* A BAR with its MSI-X table left out. */
static int change_bar(struct passthrough *t, const struct pass_function *f, u32 bar, u64 at, bool map) {
    const struct pci_bar *b = pass_bar(f->real, bar);
    bool table = f->real->msix && bar == f->real->msix_bar;
    u64 hole = table ? f->trap_offset : b->bytes, resume = table ? hole + f->trap_bytes : b->bytes;
    int error = change(t, at, b, 0, min_u64(hole, b->bytes), map);

    if (error) return error;
    error = change(t, at, b, resume, b->bytes, map);
    if (error && map) (void)!change(t, at, b, 0, min_u64(hole, b->bytes), false);
    return error;
}

static void flush_all(struct partition *p) {
    for (u32 i = 0; i < p->vcpu_count; i++) vcpu_poke(p->vcpus[i], REQUEST_FLUSH);
}

/* Behind an address that the firmware left 0 there is none of the function's memory. */
static bool is_memory(const struct pci_bar *b) { return b->bytes && b->base && !b->io; }

/* Of BARs that overlap the first one answers. */
static void try_place(struct passthrough *t, struct pass_function *fn, u32 bar) {
    const struct pci_bar *b = pass_bar(fn->real, bar);
    u64 at = fn->wanted[bar];

    if (at == NEVER || fn->placed[bar] != NEVER || !in_window(t, at, b->bytes)) return;
    /* Small BARs share a page with what surrounds them: their place in it stays. */
    if (!((at ^ b->base) & (PAGE_4K - 1)) && !change_bar(t, fn, bar, at, true)) fn->placed[bar] = at;
}

static void place(void *ctx, u32 f, u32 bar, u64 at) {
    struct partition *p = ctx;
    struct passthrough *t = p->pci;
    struct pass_function *fn = &t->functions[f];
    const struct pci_bar *b = pass_bar(fn->real, bar);

    if (b->io) fn->wanted[bar] = at; /* for passthrough_port_in; where it is on the machine, it stays open */
    if (!is_memory(b) || fn->wanted[bar] == at) return;
    fn->wanted[bar] = at;
    if (fn->placed[bar] != NEVER) {
        if (change_bar(t, fn, bar, fn->placed[bar], false))
            log_line(LOG_WARN "%s: a BAR stays mapped", p->config->name);
        fn->placed[bar] = NEVER;
        flush_all(p);
    }
    if (bar == VPCI_ROM) config_write(p, f, PCI_REG_ROM, 4, (u32)b->base | (at != NEVER));
    try_place(t, fn, bar);
    /* One that this one lay over may answer now. */
    for (u32 i = 0; i < t->count; i++)
        for (u32 k = 0; k < BARS_ALL; k++) try_place(t, &t->functions[i], k);
}

/* A reset that the guest asked for: of this function alone. */
static void reset(void *ctx, u32 f) {
    struct partition *p = ctx;

    pass_silence(p, f);
    if (pci_reset(p->pci->functions[f].real, NULL) == -E_TIMEOUT)
        log_line(LOG_ERROR "%s: function %u does not come back from its reset", p->config->name, f);
    (void)!pass_open_line(p, f);
}

void pass_callbacks(struct partition *p) {
    p->pci->host = (struct vpci_host){p, config_read, config_write, place, pass_vector, reset};
}

/* --- device memory that is trapped --- */

/* The function whose MSI-X pages hold `at`; *offset: in its BAR. */
static const struct pass_function *trapped(const struct passthrough *t, u64 at, u32 *offset, u32 *number) {
    for (u32 i = 0; t && i < t->count; i++) {
        const struct pass_function *f = &t->functions[i];
        u64 placed = f->placed[f->real->msix_bar];

        if (!f->trap_bytes || placed == NEVER || at - (placed + f->trap_offset) >= f->trap_bytes) continue;
        if (at - placed >= f->real->bars[f->real->msix_bar].bytes) continue;
        *offset = (u32)(at - placed);
        *number = i;
        return f;
    }
    return NULL;
}

static bool in_table(const struct pass_function *f, u32 offset) {
    return offset - f->real->msix_offset < 16u * f->real->msix_entries;
}

bool passthrough_read(struct partition *p, u64 at, u32 size, u32 *value) {
    u32 offset, number;
    const struct pass_function *f = trapped(p->pci, at, &offset, &number);

    if (!f || (at & (size - 1))) return f != NULL; /* across a border of the table: ones */
    if (in_table(f, offset)) {
        *value = vpci_msix_read(&p->board.pci, number, (offset - f->real->msix_offset) & ~3u) >> (offset & 3) * 8;
        if (size < 4) *value &= (1u << 8 * size) - 1;
    } else {
        const volatile void *real =
            (const volatile void *)(f->real->bars[f->real->msix_bar].base + offset + DIRECT_BASE);

        *value = size == 1   ? *(const volatile u8 *)real
                 : size == 2 ? *(const volatile u16 *)real
                             : *(const volatile u32 *)real;
    }
    return true;
}

bool passthrough_write(struct partition *p, u64 at, u32 size, u32 value) {
    u32 offset, number;
    const struct pass_function *f = trapped(p->pci, at, &offset, &number);

    if (!f || (at & (size - 1))) return f != NULL; /* across a border of the table: dropped */
    if (in_table(f, offset)) {
        /* PCI Local Bus 3.0, MSI-X Table: double words and quad words; others are undefined, and dropped here. */
        if (size == 4 && !(offset & 3)) vpci_msix_write(&p->board.pci, number, offset - f->real->msix_offset, value);
    } else {
        volatile void *real = (volatile void *)(f->real->bars[f->real->msix_bar].base + offset + DIRECT_BASE);

        if (size == 1) *(volatile u8 *)real = (u8)value;
        if (size == 2) *(volatile u16 *)real = (u16)value;
        if (size == 4) *(volatile u32 *)real = value;
    }
    return true;
}

/* --- ports of I/O BARs that were moved --- */

/* The machine's port, or 0: the guest has no BAR there, or one that is closed to it. */
static u16 moved_port(const struct passthrough *t, u16 port, u32 size) {
    for (u32 i = 0; t && port >= PASS_IO_LOWEST && i < t->count; i++)
        for (u32 bar = 0; bar < PCI_BARS; bar++) {
            const struct pci_bar *b = &t->functions[i].real->bars[bar];
            u64 at = t->functions[i].wanted[bar];

            if (!b->bytes || !b->io || at == NEVER || port < at || port + size > at + b->bytes) continue;
            return b->base < PASS_IO_LOWEST ? 0 : (u16)(b->base + port - at);
        }
    return 0;
}

bool passthrough_port_in(struct partition *p, u16 port, u32 size, u32 *value) {
    u16 real = moved_port(p->pci, port, size);

    if (real) *value = size == 1 ? inb(real) : size == 2 ? inw(real) : inl(real);
    return real;
}

bool passthrough_port_out(struct partition *p, u16 port, u32 size, u32 value) {
    u16 real = moved_port(p->pci, port, size);

    if (real && size == 1) outb(real, (u8)value);
    if (real && size == 2) outw(real, (u16)value);
    if (real && size == 4) outl(real, value);
    return real;
}

void passthrough_pages(const struct partition *p, void (*map)(void *ctx, u64 at, u64 bytes, enum memory_type memtype),
                       void *ctx) {
    if (p->pci) map(ctx, p->pci->block.v, p->pci->block_bytes, MEM_WB);
    for (u32 i = 0; p->pci && i < p->pci->count; i++) {
        const struct pass_function *f = &p->pci->functions[i];

        if (pci_page(f->real->id)) map(ctx, pci_page(f->real->id), PAGE_4K, MEM_UC);
        for (u32 n = 0; n < f->real->vfs.count; n++) /* a reset of f looks there */
            map(ctx, pci_page(pci_vf_id(&f->real->vfs, n)), PAGE_4K, MEM_UC);
        if (f->bridge && pci_page(f->bridge->id)) map(ctx, pci_page(f->bridge->id), PAGE_4K, MEM_UC);
        if (f->trap_bytes) map(ctx, f->real->bars[f->real->msix_bar].base + f->trap_offset, f->trap_bytes, MEM_UC);
    }
}

/* --- faults --- */

#define FAULT_LINES  1000u                    /* in a run of the partition */
#define FAULTS_TAKEN 64u                      /* by one core at a time */
#define FAULTS_HELD  (IOMMU_MAX_UNITS * 256u) /* by the hardware, at most */

/* Who did it, as a partition + 1, or 0. */
static u32 count_fault(const struct iommu_fault *fault) {
    for (u32 i = 0; i < pass.count; i++) {
        struct pass_refused *r = &pass.refused[i];

        /* Behind conventional PCI nobody knows more than the bridge, unless that forwards a PCI-X device's own. */
        if (pass.functions[i].requester != fault->id && pass.functions[i].id != fault->id) continue;
        if (!pass.owner[i]) continue;
        __atomic_fetch_add(fault->interrupt ? &r->interrupts
                           : fault->write   ? &r->writes
                                            : &r->reads,
                           1, __ATOMIC_RELAXED);
        return pass.owner[i];
    }
    return 0;
}

static const char *owner_name(u32 owner) { return owner ? machine.config->partitions[owner - 1].name : "nobody"; }

static void tell_fault(const struct iommu_fault *fault, u32 owner) {
    char name[16];

    pci_name(name, sizeof(name), fault->id);
    log_later(LOG_WARN "%s: %s of %s: %s at 0x%llx refused, reason 0x%x%s", pass.iommu->name, name, owner_name(owner),
              fault->interrupt ? "interrupt"
              : fault->write   ? "write"
                               : "read",
              (unsigned long long)fault->address, fault->reason,
              fault->lost ? "; others after it are not recorded" : "");
}

/* Every recorded one counts, whoever's it is; its owner's core is left to tell it. */
static void take_faults(u32 most) {
    struct iommu_fault fault;

    while (pass.iommu && most-- && pass.iommu->fault(&fault)) {
        u32 owner = count_fault(&fault);
        struct pass_told *t = &pass.told[owner];

        spin_lock(&t->lock);
        if (t->count < FAULTS_TOLD)
            t->faults[t->count++] = fault;
        else
            t->more++;
        spin_unlock(&t->lock);
        if (owner && machine.config->partitions[owner - 1].stop_on_fault)
            __atomic_store_n(&pass.stop[owner - 1], 1, __ATOMIC_RELEASE);
    }
}

/* The first few. Returns true if there were any. */
static bool tell_faults(u32 owner) {
    struct pass_told *t = &pass.told[owner], now;

    if (!__atomic_load_n(&t->count, __ATOMIC_RELAXED)) return false;
    spin_lock(&t->lock);
    now = *t;
    t->count = t->more = 0;
    t->lines += now.count;
    spin_unlock(&t->lock);
    if (now.lines >= FAULT_LINES) return false;
    for (u32 i = 0; i < now.count; i++) tell_fault(&now.faults[i], owner);
    if (now.more) log_later(LOG_WARN "%s: %u more refused to %s", pass.iommu->name, now.more, owner_name(owner));
    if (now.lines + now.count >= FAULT_LINES)
        log_later(LOG_WARN "%s: of %s no more is told in this run", pass.iommu->name, owner_name(owner));
    return true;
}

static u32 take_count(u32 *count) { return __atomic_exchange_n(count, 0, __ATOMIC_RELAXED); }

/* What was refused to p's functions since its start. */
static void sum_up_faults(const struct partition *p) {
    char name[16];

    take_faults(FAULTS_HELD);
    (void)!tell_faults(partition_number(p) + 1);
    for (u32 i = 0; i < pass.count; i++) {
        struct pass_refused *r = &pass.refused[i], sum;

        if (pass.owner[i] != partition_number(p) + 1) continue;
        sum = (struct pass_refused){take_count(&r->reads), take_count(&r->writes), take_count(&r->interrupts)};
        if (!(sum.reads | sum.writes | sum.interrupts)) continue;
        pci_name(name, sizeof(name), pass.functions[i].id);
        log_line(LOG_WARN "%s: %s: refused %u reads, %u writes, %u interrupts", p->config->name, name, sum.reads,
                 sum.writes, sum.interrupts);
    }
}

void passthrough_poll(struct partition *p, u64 now) {
    if (!p->pci || now < p->pci->next_poll) return;
    p->pci->next_poll = pass.iommu ? now + ns_to_tsc(PASS_POLL_NS) : NEVER;
    if (!pass.iommu) return;
    take_faults(FAULTS_TAKEN);
    if (tell_faults(partition_number(p) + 1)) p->pci->log_left = true;
    if (tell_faults(0)) p->pci->log_left = true;
    if (__atomic_exchange_n(&pass.stop[partition_number(p)], 0, __ATOMIC_ACQ_REL)) {
        log_line(LOG_ERROR "%s: stopped for a refused access of its device", p->config->name);
        partition_end(p, END_CRASH);
    }
}

bool passthrough_pump(struct partition *p) {
    if (p->pci && p->pci->log_left) p->pci->log_left = log_pump();
    return p->pci && p->pci->log_left;
}

/* --- start and end --- */

static int reset_all(struct partition *p, char *why, size_t why_size) {
    struct passthrough *t = p->pci;
    char name[16];

    for (u32 i = 0; i < t->count; i++) {
        const struct pass_function *f = &t->functions[i];
        int error = pci_reset(f->real, f->bridge);

        if (!error || (error == -E_UNSUPPORTED && p->config->reset_optional)) continue;
        pci_name(name, sizeof(name), f->real->id);
        if (error == PCI_LEFT_OUT) {
            log_line(LOG_WARN "%s: WARNING: %s is as it was left: not reset, since a virtual function of it is in use",
                     p->config->name, name);
            continue;
        }
        fmt(why, why_size, "%s %s", name,
            error == -E_TIMEOUT ? "stays busy after its reset; power the machine off and on"
                                : "has no way to be reset; pci-reset = \"optional\" uses it all the same");
        return error;
    }
    return 0;
}

static int open_function(struct partition *p, u32 i, char *why, size_t why_size) {
    struct passthrough *t = p->pci;
    struct pass_function *f = &t->functions[i];
    char name[16];
    int error = 0;

    pci_restore(f->real); /* the reset of a bus took others along */
    pass_silence(p, i);
    pci_name(name, sizeof(name), f->real->id);
    for (u32 bar = 0; bar < BARS_ALL; bar++) {
        u64 home = t->guest[i].home[bar];

        place(p, i, bar, NEVER);
        /* Tables for its first place are taken here, so that no later run of the guest is without them. */
        if (is_memory(pass_bar(f->real, bar)) && !change_bar(t, f, bar, home, true))
            (void)!change_bar(t, f, bar, home, false);
    }
    if (pass.iommu) error = pass.iommu->attach(f->real->id, partition_number(p) + 1, t->dma_root);
    if (error) {
        fmt(why, why_size, "%s: the IOMMU does not open its DMA: %s", name, error_name(error));
        return error;
    }
    error = pass_open_line(p, i);
    if (error)
        log_line(LOG_WARN "%s: %s: interrupt line %u %s%s", p->config->name, name, f->gsi,
                 error == -E_NOENT ? "is not there" : "stays closed: ", error == -E_NOENT ? "" : error_name(error));
    return 0;
}

int passthrough_start(struct partition *p, char *why, size_t why_size) {
    int error;

    if (!p->pci) return 0;
    pass.stop[partition_number(p)] = 0; /* for what an earlier run did */
    pass.told[partition_number(p) + 1].lines = 0;
    error = reset_all(p, why, why_size);
    for (u32 i = 0; i < p->pci->count && !error; i++) error = open_function(p, i, why, why_size);
    if (error) (void)!passthrough_stop(p);
    return error;
}

int passthrough_stop(struct partition *p) {
    struct passthrough *t = p->pci;
    char name[16];
    int error = 0;

    for (u32 i = 0; t && i < t->count; i++) {
        const struct pci_function *f = t->functions[i].real;

        /* Bus mastering goes first; a function that cannot be reset is kept from memory by its IOMMU entry. */
        pass_silence(p, i);
        (void)!pci_reset(f, t->functions[i].bridge);
        if (pass.iommu && pass.iommu->detach(f->id)) {
            pci_name(name, sizeof(name), f->id);
            log_line(LOG_ERROR "%s: %s: the IOMMU does not confirm that its DMA is closed", p->config->name, name);
            t->stuck = true;
            error = -E_TIMEOUT;
        }
    }
    if (t) sum_up_faults(p);
    if (t) memset(t->source, 0, sizeof(t->source));
    for (u32 i = 0; t && i < t->count; i++)
        for (u32 k = 0; k <= t->functions[i].irqs; k++) t->irqs[t->functions[i].first_irq + k].vector = 0;
    return error;
}
