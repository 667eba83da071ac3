/* VT-d: closes every unit's DMA and interrupts at boot, then opens them function by function. Setup and prepare on the
 * boot core, everything else on any core that drives devices. It never waits without a limit: a unit that did not
 * answer once is not asked again, and whatever it was to close counts as open (-E_TIMEOUT). Source: VT-d 4.1.
 *
 *     root table --bus--> context table --device, function--> domain, DMA table
 *     MSI or I/O APIC pin --handle--> interrupt remapping table --requester id right?--> vector, core */
#include "drivers/vtd.h"

#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/base/spinlock.h"
#include "drivers/dmar.h"
#include "drivers/iommu_hw.h"

#define LATE        __attribute__((section(".late")))
#define TIMEOUT     BIT(31) /* ticks of the TSC: half a second at 4 GHz */
#define FUNCTIONS   256u
#define ENTRY_WORDS 2 /* every structure here has entries of two words */

_Static_assert(IRT_ENTRIES == 2u << IRTA_SIZE, "VT-d 4.1, Interrupt Remapping Table Address Register");

struct unit {
    u64 registers, cap, ecap;
    u64 *root, *queue, *interrupts; /* a page, a page, IRT_ENTRIES */
    u32 used;                       /* interrupt entries that are reserved */
};
struct function {
    u32 id, first, count; /* its interrupt entries */
    bool ioapic;
    const struct unit *unit;
    u32 requester;       /* under which its requests come */
    u64 *context, *seen; /* entries of its own identity, and of that; the same but behind conventional PCI */
};
/* What is written after boot, and may be by every core that drives devices. */
struct shared {
    struct spinlock lock, fault_lock; /* whoever polls for faults does not wait for who waits for a unit */
    struct queue {
        u32 tail, sequence, done; /* done: written by the unit */
        bool broken;
    } queues[IOMMU_MAX_UNITS];
    u32 domains[FUNCTIONS]; /* that each function is attached to; 0: none */
};

static struct dmar dmar LATE;
static struct iommu_env env LATE;
static struct unit units[IOMMU_MAX_UNITS] LATE;
static struct function functions[FUNCTIONS] LATE;
static u32 function_count LATE, leaf LATE;
static const struct pt_format *tables LATE;
static bool remaps LATE, eim LATE, coherent LATE;
static struct shared *shared LATE;

/* --- one unit --- */

static void store(u64 *entry, u64 value) {
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
    if (!coherent) iommu_flush(entry);
}

static int wait_for(const struct unit *u, u32 reg, u32 mask, u32 value) {
    u64 start = iommu_clock();

    while ((iommu_read32(u->registers + reg) & mask) != value)
        if (iommu_clock() - start > TIMEOUT) return -E_TIMEOUT;
    return 0;
}

/* One bit at a time, the others as they are: Global Command Register. */
static int command(const struct unit *u, u32 bit, bool on) {
    u32 state = iommu_read32(u->registers + VTD_GSTS) & GSTS_KEEP;

    iommu_write32(u->registers + VTD_GCMD, on ? state | bit : state & ~bit);
    return wait_for(u, VTD_GSTS, bit, on && bit != GCMD_WBF ? bit : 0);
}

static void put(const struct unit *u, struct queue *q, u64 low, u64 high) {
    u->queue[q->tail * ENTRY_WORDS] = low;
    u->queue[q->tail * ENTRY_WORDS + 1] = high;
    q->tail = (q->tail + 1) % QUEUE_ENTRIES;
}

/* Has the unit forget what the descriptors say, and waits until it has and nothing older is under way. The queue
 * and `done` are coherent on every unit. */
static int invalidate(const struct unit *u, const u64 *what, u32 count) {
    struct queue *q = &shared->queues[u - units];
    u64 start = iommu_clock();
    u32 status;

    if (!q->broken && u->cap & CAP_RWBF && command(u, GCMD_WBF, true)) q->broken = true;
    if (q->broken) return -E_TIMEOUT;
    for (u32 i = 0; i < count; i++) put(u, q, what[i], 0);
    put(u, q, INV_WAIT(++q->sequence), iommu_address(&q->done));
    iommu_write64(u->registers + VTD_IQT, q->tail * 16);
    while (__atomic_load_n(&q->done, __ATOMIC_ACQUIRE) != q->sequence) {
        status = iommu_read32(u->registers + VTD_FSTS);
        if (!(status & FSTS_QUEUE_ERRORS) && iommu_clock() - start <= TIMEOUT) continue;
        q->broken = true;
        log_later(LOG_ERROR
                  "VT-d: the unit at 0x%llx does not complete an invalidation, status 0x%x: its devices stay closed",
                  (unsigned long long)u->registers, status);
        return -E_TIMEOUT;
    }
    return 0;
}

/* --- setup --- */

/* caps, ecaps: what all units up to this one have. NULL, or what it lacks. */
static const char *check_unit(struct unit *u, u64 *caps, u64 *ecaps) {
    u64 end;

    env.registers(u->registers, PAGE_4K);
    u->cap = iommu_read64(u->registers + VTD_CAP);
    u->ecap = iommu_read64(u->registers + VTD_ECAP);
    *caps &= u->cap;
    *ecaps &= u->ecap;
    if (~u->cap == 0 || iommu_read32(u->registers + VTD_VER) == 0) return "is not there";
    if (!(*caps & (CAP_LEVELS_4 | CAP_LEVELS_3))) return "has no tables of four or three levels that all others have";
    if (!(u->ecap & ECAP_QUEUE)) return "has no queued invalidation";
    if (!(u->ecap & ECAP_COHERENT) && !iommu_can_flush()) return "needs CLFLUSH, which the processor lacks";
    end = CAP_FAULT_OFFSET(u->cap) + 16 * CAP_FAULT_RECORDS(u->cap);
    if (end > PAGE_4K) env.registers(u->registers + PAGE_4K, align_up(end - PAGE_4K, PAGE_4K));
    return NULL;
}

/* With empty tables. Firmware may have left the unit on: translation stays on then, so that nothing opens in between.
 * Its own closed regions (PMEN) end when the tables have taken over. NULL, or what did not work. */
static const char *switch_on(const struct unit *u) {
    const char *disobeys = "does not obey its command register", *hangs = "does not complete an invalidation";

    if (command(u, GCMD_IRE, false) || command(u, GCMD_QIE, false)) return disobeys;
    iommu_write32(u->registers + VTD_FSTS, FSTS_QUEUE_ERRORS | FSTS_OVERFLOW);
    iommu_write64(u->registers + VTD_IQT, 0);
    iommu_write64(u->registers + VTD_IQA, iommu_address(u->queue));
    iommu_write64(u->registers + VTD_RTADDR, iommu_address(u->root));
    if (command(u, GCMD_QIE, true) || command(u, GCMD_SRTP, true)) return disobeys;
    if (invalidate(u, (u64[]){INV_CONTEXTS, INV_IOTLB}, 2)) return hangs;
    if (command(u, GCMD_TE, true)) return disobeys;
    if (u->cap & CAP_PROTECTED) iommu_write32(u->registers + VTD_PMEN, 0);
    if (u->cap & CAP_PROTECTED && wait_for(u, VTD_PMEN, PMEN_STATUS, 0)) return "keeps firmware's memory protected";
    if (!remaps) return NULL;
    iommu_write64(u->registers + VTD_IRTA, iommu_address(u->interrupts) | (eim ? IRTA_EIM : 0) | IRTA_SIZE);
    if (command(u, GCMD_SIRTP, true)) return disobeys;
    if (invalidate(u, (u64[]){INV_INTERRUPTS}, 1)) return hangs;
    return command(u, GCMD_CFI, false) || command(u, GCMD_IRE, true) ? disobeys : NULL;
}

static void switch_off(const struct unit *u) {
    if (command(u, GCMD_TE, false) == 0 && command(u, GCMD_IRE, false) == 0) (void)command(u, GCMD_QIE, false);
}

static void vtd_publish(void) {
    if (!coherent) iommu_flush_all();
}

/* Of those units that are found in the table. */
static const char *set_up(u32 *at) {
    u64 caps = ~(u64)0, ecaps = ~(u64)0;
    const char *lack = NULL;

    for (*at = 0; *at < dmar.unit_count; ++*at) {
        units[*at] = (struct unit){.registers = dmar.units[*at].registers};
        lack = check_unit(&units[*at], &caps, &ecaps);
        if (lack) return lack;
    }
    tables = !(caps & CAP_LEVELS_4) ? (ecaps & ECAP_SNOOP ? &pt_vtd_39_snoop : &pt_vtd_39)
             : ecaps & ECAP_SNOOP   ? &pt_vtd_snoop
                                    : &pt_vtd;
    leaf = !(caps & CAP_PAGES_2M) ? 1 : caps & CAP_PAGES_1G ? 3 : 2;
    remaps = dmar.interrupts && ecaps & ECAP_INTERRUPTS;
    eim = remaps && env.x2apic && ecaps & ECAP_EIM;
    coherent = ecaps & ECAP_COHERENT;
    shared = env.take(sizeof(*shared));
    for (u32 i = 0; i < dmar.unit_count; i++) {
        units[i].root = env.take(2 * PAGE_4K + IRT_ENTRIES * 16);
        units[i].queue = units[i].root + PAGE_4K / sizeof(u64);
        units[i].interrupts = units[i].queue + PAGE_4K / sizeof(u64);
    }
    vtd_publish();
    for (*at = 0; !lack && *at < dmar.unit_count; ++*at) lack = switch_on(&units[*at]);
    for (u32 i = 0; lack && i < *at; i++) switch_off(&units[i]);
    if (lack) --*at;
    return lack;
}

static int vtd_setup(const void *acpi, const struct iommu_env *from, char *summary, size_t summary_size, char *why,
                     size_t why_size) {
    static const char *const leaves[] = {"4 KiB", "2 MiB", "1 GiB"};
    const char *lack;
    u32 at;
    int rc = dmar_parse(acpi, from->buses, &dmar, why, why_size);

    if (rc) return rc;
    env = *from;
    function_count = 0;
    shared = NULL;
    lack = set_up(&at);
    if (lack) {
        fmt(why, why_size, "VT-d: the unit at 0x%llx %s", (unsigned long long)units[at].registers, lack);
        return shared ? -E_TIMEOUT : -E_UNSUPPORTED;
    }
    fmt(summary, summary_size, "%u unit%s, %u-level tables, pages up to %s; %s%s%s, %u regions of firmware closed",
        dmar.unit_count, dmar.unit_count > 1 ? "s" : "", tables->levels, leaves[leaf - 1],
        remaps ? "interrupts remapped" : "no interrupt remapping", remaps && !eim ? ", 8-bit core ids" : "",
        coherent ? "" : ", not coherent", dmar.regions);
    return 0;
}

static const struct pt_format *vtd_tables(void) { return tables; }
static u32 vtd_max_leaf(void) { return leaf; }
static bool vtd_remaps_interrupts(void) { return remaps; }
static u32 vtd_max_apic(void) { return eim ? ~0u : 0xfe; } /* all ones is everybody */
static int vtd_ioapic_id(u32 acpi_id, u32 *id) { return dmar_ioapic(&dmar, acpi_id, id); }

/* --- functions --- */

static const struct function *find(u32 id) {
    for (u32 i = 0; i < function_count; i++)
        if (functions[i].id == id) return &functions[i];
    return NULL;
}

/* Entry of this identity in the context table of its bus. */
static u64 *context_of(const struct unit *u, u32 id) {
    u64 *entry = &u->root[PCI_BUS(id) * ENTRY_WORDS], table;

    if (!*entry) {
        table = iommu_address(env.take(PAGE_4K));
        vtd_publish();
        store(entry, table | ENTRY_PRESENT);
    }
    return (u64 *)iommu_pointer(align_down(*entry, PAGE_4K)) + (u64)(id & 0xff) * ENTRY_WORDS;
}

static int vtd_prepare(u32 id, u32 interrupts) {
    struct function *f = &functions[function_count];
    bool ioapic;
    int unit = dmar_find(&dmar, env.physical ? env.physical(id) : id, &ioapic);
    struct unit *u;

    if (unit < 0) return unit;
    u = &units[unit];
    if (find(id)) return -E_OVERLAP;
    if (function_count == FUNCTIONS || interrupts > IRT_ENTRIES - u->used) return -E_NOMEM;
    *f = (struct function){id, u->used, interrupts, ioapic, u, env.requester ? env.requester(id) : id, NULL, NULL};
    f->context = context_of(u, id);
    f->seen = context_of(u, f->requester);
    u->used += interrupts;
    function_count++;
    return 0;
}

static void open_context(u64 *context, u32 domain, hpa_t root) {
    store(&context[0], 0); /* never half an entry */
    store(&context[1], CONTEXT_DOMAIN(domain) | CONTEXT_LEVELS(tables->levels));
    store(&context[0], root.v | ENTRY_PRESENT);
}

static void close_contexts(const struct function *f) {
    store(&f->context[0], 0);
    store(&f->seen[0], 0);
}

/* Is the identity of its requests open for another domain? */
static bool is_taken(const struct function *f, u32 domain) {
    for (u32 i = 0; i < function_count; i++)
        if (functions[i].seen == f->seen && shared->domains[i] && shared->domains[i] != domain) return true;
    return false;
}

static int vtd_attach(u32 id, u32 domain, hpa_t root) {
    const struct function *f = find(id);
    int rc;

    if (!f) return -E_NOENT;
    if (domain == 0 || domain >= min_u64(CAP_DOMAINS(f->unit->cap), BIT(16))) return -E_RANGE;
    spin_lock(&shared->lock);
    if (is_taken(f, domain)) {
        spin_unlock(&shared->lock);
        return -E_OVERLAP;
    }
    shared->domains[f - functions] = domain;
    open_context(f->context, domain, root);
    if (f->seen != f->context) open_context(f->seen, domain, root);
    rc =
        invalidate(f->unit, (u64[]){INV_CONTEXTS, INV_DOMAIN(domain)}, 2); /* caching mode caches what is absent, too */
    if (rc) close_contexts(f);
    spin_unlock(&shared->lock);
    return rc;
}

/* The descriptors also wait for what is under way: IOTLB with draining, interrupts always. What was never attached
 * leaves alone the identity that it shares. */
static int vtd_detach(u32 id) {
    const struct function *f = find(id);
    u32 *domain;
    int rc;

    if (!f) return -E_NOENT;
    domain = &shared->domains[f - functions];
    spin_lock(&shared->lock);
    if (*domain) close_contexts(f);
    for (u32 i = f->first; i < f->first + f->count; i++) store(&f->unit->interrupts[i * ENTRY_WORDS], 0);
    rc = invalidate(f->unit, (u64[]){INV_CONTEXTS, INV_DOMAIN(*domain), INV_INTERRUPTS}, remaps ? 3 : 2);
    if (!rc) *domain = 0;
    spin_unlock(&shared->lock);
    return rc;
}

/* --- interrupts --- */

static int set_interrupt(const struct function *f, u32 index, u64 entry) {
    u64 *at;
    int rc;

    if (!f) return -E_NOENT;
    if (!remaps) return -E_UNSUPPORTED;
    if (index >= f->count) return -E_RANGE;
    at = &f->unit->interrupts[(f->first + index) * ENTRY_WORDS];
    spin_lock(&shared->lock);
    store(at + 1, IRTE_SOURCE(f->requester)); /* the same each time, so that one store changes the rest */
    store(at, entry);
    rc = invalidate(f->unit, (u64[]){INV_INTERRUPT(f->first + index)}, 1);
    spin_unlock(&shared->lock);
    return rc;
}

/* A device's message names its first entry and, as data, the index; it may put its own number there (several MSI
 * vectors) and reach entries of others with it, which hold another requester id. An I/O APIC sends no such data. */
static int vtd_route(u32 id, u32 index, u8 vector, u32 apic_id, bool level, struct msi_message *out) {
    const struct function *f = find(id);
    int rc;

    if (apic_id > vtd_max_apic()) return -E_RANGE;
    rc = set_interrupt(f, index,
                       ENTRY_PRESENT | (level ? IRTE_LEVEL : 0) | IRTE_VECTOR(vector) | IRTE_DEST(eim, apic_id));
    if (rc) return rc;
    *out = f->ioapic ? (struct msi_message){MSI_REMAPPABLE(f->first + index), vector}
                     : (struct msi_message){MSI_REMAPPABLE(f->first) | MSI_SUBHANDLE, index};
    return 0;
}

static int vtd_unroute(u32 id, u32 index) { return set_interrupt(find(id), index, 0); }

/* --- faults --- */

/* The index tells where the first fault stood; those that came after it follow. */
static bool take_fault(u32 i, struct iommu_fault *out) {
    const struct unit *u = &units[i];
    u32 status = iommu_read32(u->registers + VTD_FSTS), count = CAP_FAULT_RECORDS(u->cap);

    if (status & FSTS_OVERFLOW) iommu_write32(u->registers + VTD_FSTS, FSTS_OVERFLOW);
    if (!(status & FSTS_PENDING)) return false;
    for (u32 k = 0; k < count; k++) {
        u64 at = u->registers + CAP_FAULT_OFFSET(u->cap) + 16 * ((FSTS_INDEX(status) + k) % count);
        u64 low = iommu_read64(at), high = iommu_read64(at + 8);

        if (!(high & FAULT_VALID)) continue;
        iommu_write32(at + 12, FAULT_VALID >> 32);
        *out = (struct iommu_fault){.id = (u32)dmar.units[i].segment << 16 | (u16)high,
                                    .reason = FAULT_REASON(high),
                                    .write = !(high & FAULT_READ),
                                    .lost = status & FSTS_OVERFLOW};
        out->interrupt = out->reason >> 4 == FAULT_INTERRUPT >> 4;
        out->address = out->interrupt ? low >> 48 : align_down(low, PAGE_4K); /* an entry's number, or a page */
        return true;
    }
    return false;
}

static bool vtd_fault(struct iommu_fault *out) {
    bool found = false;

    spin_lock(&shared->fault_lock);
    for (u32 i = 0; i < dmar.unit_count && !found; i++) found = take_fault(i, out);
    spin_unlock(&shared->fault_lock);
    return found;
}

const struct iommu_ops vtd_ops = {
    .name = "VT-d",
    .tables = vtd_tables,
    .setup = vtd_setup,
    .max_leaf = vtd_max_leaf,
    .remaps_interrupts = vtd_remaps_interrupts,
    .max_apic = vtd_max_apic,
    .prepare = vtd_prepare,
    .publish = vtd_publish,
    .attach = vtd_attach,
    .detach = vtd_detach,
    .route = vtd_route,
    .unroute = vtd_unroute,
    .ioapic_id = vtd_ioapic_id,
    .fault = vtd_fault,
};
