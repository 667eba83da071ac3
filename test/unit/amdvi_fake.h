/* Two made-up AMD-Vi units, the devices behind them, and the table that describes them. The driver is included, so that
 * it runs against them. The units cache what real ones cache (device table entries, translations and interrupt
 * entries), so that a forgotten invalidation shows; and they can stop to answer. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "test/unit/said.h"
#include "drivers/amdvi.c"

#define UNITS   2u
#define BASE(i) (0xfeb80000ull + 0x80000 * (i))
#define EDU     0x0010u /* of unit 0 */
#define IOAPIC  0x00a0u /* of unit 0 */
#define BEHIND  0x0308u /* known as BRIDGE, as is BEHIND + 1 */
#define BRIDGE  0x0300u
#define OTHER   0x10010u /* of unit 1, in segment 1 */
#define NONE    (~0ull)

/* --- the machine --- */

struct cached {
    bool used;
    u32 id, domain;
    u64 key, value, high; /* of a device: the first and third quarter of its entry */
};

static struct fake {
    u64 regs[REGISTER_BYTES / 8];
    struct cached devices[16], pages[16], slots[16];
    u32 head, commands[16]; /* how often each operation came */
    u32 opened;             /* how often translation went off */
    bool hangs, runs_on;    /* completes nothing; does not stop */
} fakes[UNITS];

static u64 now;
static void (*on_clock)(void); /* what another core does while one waits */
static u32 writes;
static void *taken[256];
static u32 taken_count;

static struct fake *fake_at(u64 at, u32 *reg) {
    for (u32 i = 0; i < UNITS; i++)
        if (at - BASE(i) < REGISTER_BYTES) {
            *reg = (u32)(at - BASE(i));
            return &fakes[i];
        }
    fail_msg("register at 0x%llx", (unsigned long long)at);
    return NULL;
}

static u64 *pointer(u64 address) { return (u64 *)(address & 0xffffffffff000ull); }

static void forget(struct cached *entries, u32 id, bool any) {
    for (u32 i = 0; i < 16; i++)
        if (any || entries[i].id == id) entries[i].used = false;
}

static struct cached *cached(struct cached *entries, u32 id, u64 key, bool *known) {
    for (u32 i = 0; i < 16; i++)
        if (entries[i].used && entries[i].id == id && entries[i].key == key) {
            *known = true;
            return &entries[i];
        }
    *known = false;
    for (u32 i = 0; i < 16; i++)
        if (!entries[i].used) {
            entries[i] = (struct cached){.used = true, .id = id, .key = key};
            return &entries[i];
        }
    fail_msg("cache full");
    return NULL;
}

static void execute(struct fake *f, const u64 *command) {
    u32 low = (u32)command[0], operation = (u32)(command[0] >> 60);

    f->commands[operation]++;
    switch (operation) {
    case 1:
        assert_int_equal(1, low & 7);
        assert_int_equal(0, command[0] >> 52 & 0xff);
        if (!f->hangs) __atomic_store_n((u64 *)(command[0] & 0xffffffffffff8ull), command[1], __ATOMIC_RELEASE);
        break;
    case 2: forget(f->devices, low & 0xffff, false); break;
    case 3:
        assert_int_equal(0, low);
        assert_true(command[1] == 0x7ffffffffffff003ull);
        forget(f->pages, (u32)(command[0] >> 32 & 0xffff), false);
        break;
    case 5: forget(f->slots, low & 0xffff, false); break;
    case 8:
        assert_true(command[0] == 8ull << 60 && command[1] == 0);
        forget(f->devices, 0, true);
        forget(f->pages, 0, true);
        forget(f->slots, 0, true);
        break;
    default: fail_msg("command %u", operation);
    }
}

static u8 ivrs[512];
static u32 special; /* offset of the I/O APIC's entry */

/* But for what the table wants for the I/O APIC: no DMA. */
static void check_closed(u64 table) {
    const u64 *devices = pointer(table), settings = ivrs[special + 3];
    const u32 named = ivrs[special + 5] | (u32)ivrs[special + 6] << 8;

    assert_int_equal(0x1ff, table & 0xfff);
    for (u32 id = 0; id < 0x10000; id++)
        if (devices[4 * id] != 3 || (devices[4 * id + 1] & ~(id == named ? (settings & 0x30) << 36 : 0)) ||
            (devices[4 * id + 2] & ~(1 | (id == named ? settings << 56 : 0))) || devices[4 * id + 3])
            fail_msg("entry %x is not closed", id);
}

static void check_enabled(struct fake *f, u64 value) {
    f->opened += f->regs[REG_CONTROL / 8] & CONTROL_ENABLE && !(value & CONTROL_ENABLE);
    /* Rings change while they stand. */
    if (value & (CONTROL_COMMANDS | CONTROL_EVENT_LOG)) {
        assert_int_equal(8, f->regs[REG_COMMANDS / 8] >> 56);
        assert_int_equal(8, f->regs[REG_EVENTS / 8] >> 56);
    }
    if (!(value & CONTROL_ENABLE) || f->regs[REG_CONTROL / 8] & CONTROL_ENABLE) return;
    /* Everything is in place and closed when the unit starts to look. */
    assert_int_equal(0, f->regs[REG_EXCLUSION / 8]);
    check_closed(f->regs[REG_DEVICES / 8]);
}

void iommu_write64(u64 at, u64 value) {
    u32 reg;
    struct fake *f = fake_at(at, &reg);

    writes++;
    if (reg == REG_CONTROL) check_enabled(f, value);
    if (reg == REG_DEVICES) check_closed(value);
    if (reg == REG_COMMANDS || reg == REG_EVENTS)
        assert_int_equal(0, f->regs[REG_CONTROL / 8] & (CONTROL_COMMANDS | CONTROL_EVENT_LOG));
    if (reg == REG_STATUS)
        f->regs[reg / 8] &= ~value;
    else
        f->regs[reg / 8] = value;
    if (reg == REG_COMMAND_HEAD) f->head = 0;
    if (reg == REG_CONTROL && !f->runs_on) f->regs[REG_STATUS / 8] &= ~(u64)STATUS_RUNNING;
    if (reg == REG_COMMAND_TAIL && f->regs[REG_CONTROL / 8] & CONTROL_ENABLE &&
        f->regs[REG_CONTROL / 8] & CONTROL_COMMANDS)
        for (; f->head * 16 != value; f->head = (f->head + 1) % 256)
            execute(f, pointer(f->regs[REG_COMMANDS / 8]) + 2 * f->head);
}

u64 iommu_read64(u64 at) {
    u32 reg;
    struct fake *f = fake_at(at, &reg);

    return f->regs[reg / 8];
}

static u32 features_of_cpu = BIT(13);
struct cpuid_result cpuid(u32 leaf, u32 sub) {
    assert_true(leaf == 1 && sub == 0);
    return (struct cpuid_result){.ecx = features_of_cpu};
}

u32 iommu_read32(u64 at) { return (u32)iommu_read64(at); }
void iommu_write32(u64 at, u32 value) { iommu_write64(at, value); }
u64 iommu_clock(void) {
    if (on_clock) on_clock();
    return now += BIT(22);
}
void iommu_flush(const void *at) { (void)at; }
void iommu_flush_all(void) {}
bool iommu_can_flush(void) { return true; }

/* --- what devices do --- */

static const struct cached *entry_of(struct fake *f, u32 id) {
    const u64 *entry = pointer(f->regs[REG_DEVICES / 8]) + 4 * (id & 0xffff);
    bool known;
    struct cached *c = cached(f->devices, id & 0xffff, 0, &known);

    if (!known) {
        c->value = entry[0];
        c->domain = (u32)(entry[1] & 0xffff);
        c->high = entry[2];
    }
    return c;
}

/* Where a function's DMA goes, or NONE. */
static u64 dma(u32 unit, u32 id, u64 iova, bool write) {
    struct fake *f = &fakes[unit];
    const struct cached *device = entry_of(f, id);
    u64 entry = device->value, need = write ? BIT(62) : BIT(61), level = entry >> 9 & 7;
    bool known;
    struct cached *c;

    if (!(f->regs[REG_CONTROL / 8] & CONTROL_ENABLE) || !(entry & 1)) return iova;
    if (!(entry & need) || !(entry & 2)) return NONE;
    assert_int_equal(4, level);
    c = cached(f->pages, device->domain, iova & ~0xfffull, &known);
    while (!known && level) {
        entry = pointer(entry)[iova >> (3 + 9 * level) & 0x1ff];
        if (!(entry & 1) || !(entry & need)) {
            c->used = false;
            return NONE;
        }
        if (!(entry >> 9 & 7)) c->value = (entry & 0xffffffffff000ull) + (iova & ((8ull << 9 * level) - 1) & ~0xfffull);
        level = entry >> 9 & 7;
    }
    return c->value + (iova & 0xfff);
}

/* APIC id << 8 | vector that a message arrives at, or NONE. */
static u64 message(u32 unit, u32 id, u32 data) {
    struct fake *f = &fakes[unit];
    u64 entry = entry_of(f, id)->high, low, high = 0;
    bool known, wide = f->regs[REG_CONTROL / 8] & CONTROL_GA;
    struct cached *c;

    if (!(entry & 1)) return data;
    if ((entry >> 60 & 3) == 0) return NONE;
    assert_int_equal(2, entry >> 60 & 3);
    if (data >= 1u << (entry >> 1 & 0xf)) return NONE;
    c = cached(f->slots, id & 0xffff, data, &known);
    if (!known) {
        c->value = wide ? pointer(entry)[2 * data] : ((u32 *)pointer(entry))[data];
        c->high = wide ? pointer(entry)[2 * data + 1] : 0;
    }
    low = c->value;
    high = c->high;
    if (!(low & 1)) return NONE;
    if (!wide) return (low >> 8 & 0xff) << 8 | (low >> 16 & 0xff);
    if (!(f->regs[REG_CONTROL / 8] & CONTROL_XT)) return (low >> 8 & 0xff) << 8 | (high & 0xff);
    return ((low >> 8 & 0xffffff) | high >> 56 << 24) << 8 | (high & 0xff);
}

/* --- setup --- */

static char summary[200], why[200];

static void *take_pages(u64 bytes) {
    void *at = aligned_alloc(PAGE_4K, align_up(bytes, PAGE_4K));

    assert_true(taken_count < ARRAY_SIZE(taken));
    taken[taken_count++] = at;
    return memset(at, 0, align_up(bytes, PAGE_4K));
}

static void reach(u64 address, u64 bytes) {
    u32 reg;

    (void)fake_at(address, &reg);
    assert_int_equal(0, reg);
    assert_int_equal(0x4000, bytes);
}

static u32 put(u32 at, u32 count, ...) {
    va_list args;

    va_start(args, count);
    for (u32 i = 0; i < count; i++) ivrs[at++] = (u8)va_arg(args, int);
    va_end(args);
    return at;
}

/* Unit 0 has all of segment 0, with an I/O APIC if wanted, unit 1 has segment 1. */
static void describe(bool ioapic) {
    u32 at = 48, block = at;

    memset(ivrs, 0, sizeof(ivrs));
    memcpy(ivrs, "IVRS", 4);
    at = put(at, 24, 0x11, 0x0f, 0, 0, 2, 0, 0x40, 0, 0, 0, 0xb8, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) + 16;
    at = put(at, 4, 1, 0, 0, 0);
    at = put(at, 8, 67, BRIDGE & 0xff, BRIDGE >> 8, 0, 0, BRIDGE & 0xff, BRIDGE >> 8, 0);
    at = put(at, 4, 4, 0x1f, BRIDGE >> 8, 0);
    special = at;
    if (ioapic) at = put(at, 8, 72, 0, 0, 0, 7, IOAPIC & 0xff, IOAPIC >> 8, 1);
    ivrs[block + 2] = (u8)(at - block);
    block = at;
    at = put(at, 24, 0x11, 0x00, 44, 0, 2, 0, 0x40, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0) + 16;
    at = put(at, 4, 1, 0, 0, 0);
    ivrs[4] = (u8)at;
}

static int set_up(u64 features, bool x2apic) {
    const struct iommu_env env = {.take = take_pages, .registers = reach, .x2apic = x2apic};

    for (u32 i = 0; i < UNITS; i++) fakes[i].regs[REG_FEATURES / 8] = features;
    return amdvi_ops.setup(ivrs, &env, summary, sizeof(summary), why, sizeof(why));
}

static int begin(void **unused) {
    (void)unused;
    memset(fakes, 0, sizeof(fakes));
    said[0] = why[0] = 0;
    writes = 0;
    describe(true);
    return 0;
}

static int end(void **unused) {
    (void)unused;
    while (taken_count) free(taken[--taken_count]);
    return 0;
}
