/* AMD-Vi. Owns the device table of each PCI segment, each unit's command and event rings, and the interrupt tables.
 * Everything is closed from setup on: a function's device table entry translates in mode 0 without rights, and its
 * interrupt table is empty. Any core, under one lock; an answer is waited for at most TIMEOUT ticks, after which the
 * unit counts as dead and opens nothing more. Source: AMD I/O Virtualization Technology (IOMMU) Specification (48882).
 */
#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/base/spinlock.h"
#include "drivers/iommu.h"
#include "drivers/iommu_hw.h"
#include "drivers/ivrs.h"

/* 48882, IOMMU MMIO Registers. */
enum { REG_DEVICES, REG_COMMANDS = 8, REG_EVENTS = 0x10, REG_CONTROL = 0x18, REG_EXCLUSION = 0x20 };
enum { REG_FEATURES = 0x30, REG_COMMAND_HEAD = 0x2000, REG_COMMAND_TAIL = 0x2008 };
enum { REG_EVENT_HEAD = 0x2010, REG_EVENT_TAIL = 0x2018, REG_STATUS = 0x2020, REGISTER_BYTES = 0x4000 };
#define DEVICES_2M 0x1ff /* size of the device table in pages, less one */
#define RING_256   (8ull << 56)

/* 48882, IOMMU Control Register, IOMMU Extended Feature Register, IOMMU Status Register. */
enum { CONTROL_ENABLE = BIT(0), CONTROL_EVENT_LOG = BIT(2), CONTROL_COHERENT = BIT(10) };
enum { CONTROL_COMMANDS = BIT(12), CONTROL_GA = BIT(17), CONTROL_XT = BIT(50) };
enum { FEATURE_XT = BIT(2), FEATURE_INVALIDATE = BIT(6), FEATURE_GA = BIT(7) };
enum { STATUS_OVERFLOW = BIT(0), STATUS_RUNNING = BIT(3) | BIT(4) }; /* running: event log, command buffer */

/* 48882, Commands: the operation in bits 63:60 of the first half. A wait stores its second half at bits 51:3. */
enum { COMMAND_WAIT = 1, COMMAND_DEVICE, COMMAND_PAGES, COMMAND_INTERRUPTS = 5, COMMAND_ALL = 8 };
#define PAGES_OF_DOMAIN 0x7ffffffffffff003ull /* every page, and the directories */

/* 48882, Event Logging: of the first half, whose bits 63:60 are the code. */
enum { EVENT_WRITE = BIT(53), EVENT_INTERRUPT = BIT(51), EVENT_CODE = 60 };
enum { EVENT_ILLEGAL_COMMAND = 5, EVENT_COMMAND_ERROR }; /* name no function */

/* 48882, Device Table Entry Format. First quarter: V, TV, mode in 11:9, IR, IW. Third: IV, table length in 4:1, IntCtl
 * in 61:60 (0: target abort, 2: remapped). SysMgt, port I/O, INIT, NMI, ExtInt and LINT bits stay 0: blocked; but the
 * I/O APIC and HPET have those that the firmware wants (IVHD, DTE Setting: INIT, ExtInt, NMI, SysMgt in 5:4, LINT). */
#define DTE_CLOSED               (BIT(0) | BIT(1))
#define DTE_OPEN                 (DTE_CLOSED | 4ull << 9 | BIT(61) | BIT(62))
#define DTE_INTERRUPTS           BIT(0)
#define DTE_MANAGEMENT(settings) ((u64)((settings)&0x30u) << 36) /* of the second quarter */
#define DTE_PASS(settings)       ((u64)((settings)&0xc7u) << 56) /* of the third */
#define DTE_REMAPPED             (DTE_INTERRUPTS | 2ull << 60 | TABLE_ORDER << 1)

/* Of an interrupt table. The index is bits 10:0 of a message, whose bits 10:8 are also its delivery mode, and only
 * fixed and lowest priority (0 and 1) are remapped: 512 it is. 48882, Interrupt Remapping Tables. */
#define TABLE_ORDER 9ull
#define TABLE_SLOTS (1u << TABLE_ORDER)
#define SLOTS_ALIGN 32u /* most vectors of MSI, which have to be aligned */

enum { IDS = 0x10000, RING = 256, MAX_FUNCTIONS = 128 };
#define TIMEOUT     BIT(32) /* ticks: a second or two */
#define MSI_ADDRESS 0xfee00000u

struct unit {
    u64 registers, control;
    u64 (*devices)[4]; /* by requester id; shared by the units of a segment */
    u64 (*commands)[2], (*events)[2];
    u64 done, sequence; /* done: written by the unit */
    u32 tail, event_head;
    bool wide, xt;  /* 128-bit interrupt entries; with 32-bit destinations */
    bool all, dead; /* has INVALIDATE_IOMMU_ALL; does not answer any more */
};

struct function {
    u32 id, ids[2]; /* ids: requester ids, its own and its alias */
    struct unit *unit;
    void *table;      /* of interrupts; shared by functions with one alias */
    u32 first, count; /* slots in there */
    u32 domain;       /* 0: closed */
};

static struct state {
    struct spinlock lock, fault_lock; /* whoever polls for faults does not wait for who waits for a unit */
    u32 function_count;
    struct function functions[MAX_FUNCTIONS];
    struct unit units[IOMMU_MAX_UNITS];
    struct ivrs ivrs;
} * state __attribute__((section(".late")));
static void *(*take)(u64 bytes) __attribute__((section(".late")));
static u32 (*physical)(u32 id) __attribute__((section(".late")));
static u32 (*requester)(u32 id) __attribute__((section(".late")));

static u64 reg_read(const struct unit *u, u32 reg) { return iommu_read64(u->registers + reg); }
static void reg_write(const struct unit *u, u32 reg, u64 value) { iommu_write64(u->registers + reg, value); }

/* Until the end of the block that this stands in. */
#define UNDER_LOCK struct spinlock *held __attribute__((cleanup(unlock), unused)) = lock()
static struct spinlock *lock(void) {
    spin_lock(&state->lock);
    LOCKS(-1); /* given back at the end of the block, which sparse does not see */
    return &state->lock;
}
GIVES_BACK static void unlock(struct spinlock **held) { spin_unlock(*held); }

/* --- commands --- */

static void submit(struct unit *u, u64 operation, u64 low, u64 high) {
    u->commands[u->tail][0] = operation << 60 | low;
    u->commands[u->tail][1] = high;
    u->tail = (u->tail + 1) % RING;
}

/* Waits until all that was submitted is done: for the store, since a head that has reached the tail says only that the
 * commands were fetched (48882, COMPLETION_WAIT), and in QEMU not even that. */
static int complete(struct unit *u) {
    u64 start = iommu_clock();

    submit(u, COMMAND_WAIT, iommu_address(&u->done) | 1, ++u->sequence);
    if (!u->dead) reg_write(u, REG_COMMAND_TAIL, u->tail * 16);
    while (!u->dead && __atomic_load_n(&u->done, __ATOMIC_ACQUIRE) != u->sequence) {
        if (iommu_clock() - start < TIMEOUT) continue;
        u->dead = true;
        log_later(LOG_ERROR "amd-vi: the unit at 0x%llx does not complete an invalidation: its devices stay closed",
                  (unsigned long long)u->registers);
    }
    return u->dead ? -E_TIMEOUT : 0;
}

static int invalidate_all(struct unit *u) {
    int code = 0;

    if (u->all) submit(u, COMMAND_ALL, 0, 0);
    for (u32 id = 0; !u->all && !code && id < IDS; id++) {
        submit(u, COMMAND_DEVICE, id, 0);
        submit(u, COMMAND_PAGES, (u64)id << 32, PAGES_OF_DOMAIN);
        submit(u, COMMAND_INTERRUPTS, id, 0);
        code = complete(u);
    }
    return complete(u);
}

/* --- setup --- */

/* A machine that remaps names its I/O APICs, or their interrupts could not get through. */
static bool remaps_interrupts(void) { return state->ivrs.ioapic_count > 0; }

static void build(struct unit *u, const struct ivrs_unit *described, bool x2apic) {
    u64 features;

    u->registers = described->registers;
    features = described->efr ? reg_read(u, REG_FEATURES) : described->features;
    u->all = features & FEATURE_INVALIDATE;
    u->wide = features & FEATURE_GA && cpuid(1, 0).ecx & BIT(13); /* CMPXCHG16B, see set_slot */
    u->xt = u->wide && features & FEATURE_XT && x2apic;
    /* HtTunEn, PassPW and ResPassPW, Isoc as firmware wants them. */
    u->control = CONTROL_COHERENT | CONTROL_COMMANDS | CONTROL_EVENT_LOG | (described->flags & 1u) << 1 |
                 (described->flags & 6u) << 7 | (described->flags & 8u) << 8 | (u->wide ? CONTROL_GA : 0) |
                 (u->xt ? CONTROL_XT : 0);
    u->commands = take(PAGE_4K);
    u->events = take(PAGE_4K);
    for (u32 i = 0; &state->units[i] < u; i++)
        if (state->ivrs.units[i].id >> 16 == described->id >> 16) u->devices = state->units[i].devices;
    if (u->devices) return;
    u->devices = take(IDS * sizeof(*u->devices));
    for (u32 id = 0; id < IDS; id++) {
        u->devices[id][0] = DTE_CLOSED;
        u->devices[id][2] = remaps_interrupts() ? DTE_INTERRUPTS : 0;
    }
    for (u32 i = 0; i < state->ivrs.range_count; i++) {
        const struct ivrs_range *r = &state->ivrs.ranges[i];

        if (r->first >> 16 != described->id >> 16) continue;
        u->devices[r->first & 0xffff][1] |= DTE_MANAGEMENT(r->settings);
        u->devices[r->first & 0xffff][2] |= DTE_PASS(r->settings);
    }
}

/* What firmware has left on stays on, with its entries of interrupt tables as they are, until the new tables have taken
 * over: nothing opens in between. If that fails all units are switched off, and no function has bus mastering. */
static int start(struct unit *u) {
    const u64 formats = CONTROL_GA | CONTROL_XT;
    u64 begin = iommu_clock(), on = reg_read(u, REG_CONTROL) & (CONTROL_ENABLE | formats);

    if (!(on & CONTROL_ENABLE)) on = 0;
    reg_write(u, REG_CONTROL, on);
    while (reg_read(u, REG_STATUS) & STATUS_RUNNING)
        if (iommu_clock() - begin > TIMEOUT) return -E_TIMEOUT;
    reg_write(u, REG_DEVICES, iommu_address(u->devices) | DEVICES_2M);
    reg_write(u, REG_COMMANDS, iommu_address(u->commands) | RING_256);
    reg_write(u, REG_COMMAND_HEAD, 0);
    reg_write(u, REG_COMMAND_TAIL, 0);
    reg_write(u, REG_EVENTS, iommu_address(u->events) | RING_256);
    reg_write(u, REG_EVENT_HEAD, 0);
    reg_write(u, REG_EVENT_TAIL, 0);
    reg_write(u, REG_EXCLUSION, 0);
    reg_write(u, REG_STATUS, STATUS_OVERFLOW);
    if (on) {
        reg_write(u, REG_CONTROL, (u->control & ~formats) | on);
        if (invalidate_all(u)) return -E_TIMEOUT;
    }
    reg_write(u, REG_CONTROL, u->control | (on & CONTROL_ENABLE));
    reg_write(u, REG_CONTROL, u->control | CONTROL_ENABLE);
    return invalidate_all(u);
}

static int setup(const void *acpi, const struct iommu_env *env, char *summary, size_t summary_size, char *why,
                 size_t why_size) {
    const char *entries = "32-bit entries for 8-bit ids";
    int code;

    take = env->take;
    physical = env->physical;
    requester = env->requester;
    state = take(sizeof(*state));
    code = ivrs_parse(acpi, &state->ivrs, why, why_size);
    if (code) return code;
    for (u32 i = 0; i < state->ivrs.unit_count; i++) {
        env->registers(state->ivrs.units[i].registers, REGISTER_BYTES);
        build(&state->units[i], &state->ivrs.units[i], env->x2apic);
        if (state->units[i].wide) entries = state->units[i].xt ? "128-bit entries" : "128-bit entries for 8-bit ids";
    }
    for (u32 i = 0; i < state->ivrs.unit_count && !code; i++) {
        code = start(&state->units[i]);
        if (code)
            fmt(why, why_size, "the unit at 0x%llx does not answer", (unsigned long long)state->units[i].registers);
    }
    for (u32 i = 0; i < state->ivrs.unit_count && code; i++) reg_write(&state->units[i], REG_CONTROL, 0);
    if (!remaps_interrupts()) entries = "nothing: IVRS names no I/O APIC";
    fmt(summary, summary_size, "%u unit(s), pages up to 1 GiB, interrupts remapped by %s", state->ivrs.unit_count,
        entries);
    return code;
}

static u32 max_leaf(void) { return 3; }
static u32 max_apic(void) {
    bool xt = true;

    for (u32 i = 0; i < state->ivrs.unit_count; i++) xt &= state->units[i].xt;
    return xt ? ~0u : 0xfe; /* all ones is everybody */
}
static void publish(void) {} /* the units look into caches */

static int ioapic_id(u32 acpi_id, u32 *id) {
    for (u32 i = 0; i < state->ivrs.ioapic_count; i++)
        if (state->ivrs.ioapics[i].acpi_id == acpi_id) {
            *id = state->ivrs.ioapics[i].id;
            return 0;
        }
    return -E_NOENT;
}

/* --- functions --- */

static bool is_ioapic(u32 id) {
    for (u32 i = 0; i < state->ivrs.ioapic_count; i++)
        if (state->ivrs.ioapics[i].id == id) return true;
    return false;
}

static struct function *find(u32 id) {
    for (u32 i = 0; i < state->function_count; i++)
        if (state->functions[i].id == id) return &state->functions[i];
    return NULL;
}

/* Their requests cannot be told apart. */
static bool same_alias(const struct function *a, const struct function *b) {
    return a->unit == b->unit && a->ids[1] == b->ids[1];
}

static int prepare(u32 id, u32 interrupts) {
    struct function *f = &state->functions[state->function_count];
    u32 unit, known = physical ? physical(id) : id;
    int code;

    if (state->function_count == MAX_FUNCTIONS) return -E_NOMEM;
    *f = (struct function){.id = id, .ids = {id & 0xffff}, .count = interrupts};
    code = find(id) ? -E_OVERLAP : ivrs_find(&state->ivrs, known, &unit, &f->ids[1]);
    if (code) return code;
    if (f->ids[1] == (known & 0xffff)) /* no alias; the bus may know one */
        f->ids[1] = requester ? requester(id) & 0xffff : f->ids[0];
    f->unit = &state->units[unit];
    for (const struct function *other = state->functions; other < f; other++)
        if (same_alias(f, other)) {
            f->table = other->table;
            f->first = (u32)align_up(other->first + other->count, SLOTS_ALIGN);
        }
    if (f->count > TABLE_SLOTS || f->first + f->count > TABLE_SLOTS) return -E_NOMEM;
    if (!f->table) f->table = take(TABLE_SLOTS * sizeof(u128));
    for (u32 i = 0; i < ARRAY_SIZE(f->ids); i++) {
        u64 *entry = f->unit->devices[f->ids[i]];

        /* The table is empty, or holds what others have routed: nothing opens here. What the firmware wants for the
         * HPET does not go to a function of the same identity. */
        if (!is_ioapic(id)) entry[1] = 0;
        entry[2] = (is_ioapic(id) ? entry[2] & DTE_PASS(0xffu) : 0) |
                   (remaps_interrupts() ? DTE_REMAPPED | iommu_address(f->table) : 0);
        submit(f->unit, COMMAND_DEVICE, f->ids[i], 0);
    }
    state->function_count++;
    return complete(f->unit);
}

/* The first quarter of an entry is written at one stroke, the domain only while that is closed. */
static int set_dma(const struct function *f, u64 first, u32 domain) {
    for (u32 i = 0; i < ARRAY_SIZE(f->ids); i++) {
        u64 *entry = f->unit->devices[f->ids[i]];

        __atomic_store_n(&entry[0], DTE_CLOSED, __ATOMIC_SEQ_CST);
        __atomic_store_n(&entry[1], domain, __ATOMIC_SEQ_CST);
        __atomic_store_n(&entry[0], first, __ATOMIC_SEQ_CST);
        submit(f->unit, COMMAND_DEVICE, f->ids[i], 0);
    }
    submit(f->unit, COMMAND_PAGES, (u64)domain << 32, PAGES_OF_DOMAIN);
    return complete(f->unit);
}

static int attach(u32 id, u32 domain, hpa_t root) {
    UNDER_LOCK;
    struct function *f = find(id);
    int code;

    if (!f) return -E_NOENT;
    for (u32 i = 0; i < state->function_count; i++)
        if (same_alias(f, &state->functions[i]) && state->functions[i].domain && state->functions[i].domain != domain)
            return -E_OVERLAP;
    f->domain = domain; /* until it is closed for certain */
    code = set_dma(f, DTE_OPEN | root.v, domain);
    if (code && set_dma(f, DTE_CLOSED, domain) == 0) f->domain = 0;
    return code;
}

/* --- interrupts --- */

/* A 128-bit entry is replaced at one stroke, so that no interrupt meets half of it, or none. */
static int set_slot(struct function *f, u32 index, u64 low, u64 high) {
    u64 *wide = (u64 *)f->table + 2 * (f->first + index), old_low = 0, old_high = 0;
    bool done = !f->unit->wide;

    if (done) __atomic_store_n((u32 *)f->table + f->first + index, (u32)low, __ATOMIC_SEQ_CST);
    while (!done) /* NOLINT(bugprone-infinite-loop): the instruction writes it */
        __asm__ volatile("lock cmpxchg16b %1"
                         : "=@ccz"(done), "+m"(*(u128 *)wide), "+a"(old_low), "+d"(old_high)
                         : "b"(low), "c"(high)
                         : "memory");
    for (u32 i = 0; i < ARRAY_SIZE(f->ids); i++) submit(f->unit, COMMAND_INTERRUPTS, f->ids[i], 0);
    return complete(f->unit);
}

/* 48882, Interrupt Remapping Table Entry: RemapEn in bit 0; fixed, to a physical id. level: the I/O APIC says so. */
static int route(u32 id, u32 index, u8 vector, u32 apic_id, bool level, struct msi_message *out) {
    UNDER_LOCK;
    struct function *f = find(id);

    (void)level;
    if (!f) return -E_NOENT;
    if (!remaps_interrupts()) return -E_UNSUPPORTED;
    if (index >= f->count || (apic_id >= 0xff && !f->unit->xt)) return -E_RANGE;
    *out = (struct msi_message){.address = MSI_ADDRESS, .data = f->first + index};
    return f->unit->wide ? set_slot(f, index, 1 | (u64)(apic_id & 0xffffff) << 8, vector | (u64)(apic_id >> 24) << 56)
                         : set_slot(f, index, 1 | apic_id << 8 | (u32)vector << 16, 0);
}

static int unroute(u32 id, u32 index) {
    UNDER_LOCK;
    struct function *f = find(id);

    if (!f) return -E_NOENT;
    return index < f->count ? set_slot(f, index, 0, 0) : -E_RANGE;
}

static int detach(u32 id) {
    UNDER_LOCK;
    struct function *f = find(id);
    int code = 0;

    if (!f) return -E_NOENT;
    /* What was never attached leaves alone the identity that it shares. */
    if (f->domain) code = set_dma(f, DTE_CLOSED, f->domain);
    if (!code) f->domain = 0;
    for (u32 i = 0; i < f->count; i++) {
        int slot = set_slot(f, i, 0, 0);

        code = code ? code : slot;
    }
    return code;
}

/* --- faults --- */

static bool next_event(struct unit *u, struct iommu_fault *out) {
    u32 tail = (u32)reg_read(u, REG_EVENT_TAIL) / 16 % RING;

    while (u->event_head != tail) {
        u64 *event = u->events[u->event_head];
        u64 low = __atomic_exchange_n(&event[0], 0, __ATOMIC_ACQ_REL);

        if (low >> EVENT_CODE == 0) return false; /* the tail came before the event */
        out->id = (state->ivrs.units[u - state->units].id & ~0xffffu) | (u32)(low & 0xffff);
        out->address = event[1];
        out->write = low & EVENT_WRITE;
        out->interrupt = low & EVENT_INTERRUPT;
        out->reason = (u32)(low >> 48);
        u->event_head = (u->event_head + 1) % RING;
        reg_write(u, REG_EVENT_HEAD, u->event_head * 16);
        if (low >> EVENT_CODE != EVENT_ILLEGAL_COMMAND && low >> EVENT_CODE != EVENT_COMMAND_ERROR) return true;
    }
    if (reg_read(u, REG_STATUS) & STATUS_OVERFLOW) { /* 48882, Event Log Restart Procedure */
        reg_write(u, REG_CONTROL, (u->control | CONTROL_ENABLE) & ~(u64)CONTROL_EVENT_LOG);
        reg_write(u, REG_STATUS, STATUS_OVERFLOW);
        reg_write(u, REG_CONTROL, u->control | CONTROL_ENABLE);
    }
    return false;
}

static bool fault(struct iommu_fault *out) {
    bool found = false;

    spin_lock(&state->fault_lock);
    for (u32 i = 0; i < state->ivrs.unit_count && !found; i++) found = next_event(&state->units[i], out);
    spin_unlock(&state->fault_lock);
    return found;
}

static const struct pt_format *tables(void) { return &pt_amdvi; }

const struct iommu_ops amdvi_ops = {
    .name = "amd-vi",
    .tables = tables,
    .setup = setup,
    .max_leaf = max_leaf,
    .remaps_interrupts = remaps_interrupts,
    .max_apic = max_apic,
    .prepare = prepare,
    .publish = publish,
    .attach = attach,
    .detach = detach,
    .route = route,
    .unroute = unroute,
    .ioapic_id = ioapic_id,
    .fault = fault,
};
