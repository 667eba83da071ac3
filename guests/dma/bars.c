/* Device memory moved to where something else is. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"
#include "core/base/string.h"

#define EDU_BYTES  MIB(1)
#define ROM_ENABLE 1u
#define HIDDEN     0xffffffffu

static volatile u64 *const guarded = (volatile u64 *)MIB(7); /* own memory that a BAR is laid over */

static u64 mark(u64 i) { return (i ^ 0x0ddba11) * 0x9e3779b97f4a7c15; }

static void guard(void) {
    for (u64 i = 0; i < EDU_BYTES / 8; i++) guarded[i] = mark(i);
}
static bool guard_holds(void) {
    for (u64 i = 0; i < EDU_BYTES / 8; i++)
        if (guarded[i] != mark(i)) return false;
    return true;
}

/* A 32-bit BAR; decoding goes on. */
static void move(const struct function *f, u32 bar, u64 at) { config_write(f->id, REG_BAR0 + 4 * bar, 4, (u32)at); }

static void check_works(u32 e) {
    repair(edus[e]);
    expect(edu_read(e, 0) == EDU_ID, "device %u at home reads 0x%x", e, edu_read(e, 0));
    edu_write(e, 4, 0x12345678);
    expect(edu_read(e, 4) == ~0x12345678u, "device %u does not answer", e);
}

/* What must read as it did, whatever lies over it. */
static void places(const struct function *f, u32 reg, u32 enable) {
    const u64 over[] = {MIB(7),
                        memory_bytes() - EDU_BYTES,
                        0,
                        MIB(1),
                        0xa0000,
                        ECAM_BASE,
                        IOAPIC_PAGE,
                        LAPIC_PAGE,
                        0xfed00000,
                        0xfed80000,
                        0xfed90000,
                        0xfff00000,
                        0xb0000000,
                        option_number("victim", 0),
                        option_number("victim", 0) + MIB(4),
                        option_number("ram", 0) - MIB(2),
                        MIB(2),
                        (u64)edus[1]->registers,
                        WINDOW,
                        ECAM_BASE - EDU_BYTES};
    u32 ids = config_read(f->id, 0, 4), version = ioapic_read(IOAPIC_VERSION);

    guard();
    for (u32 i = 0; i < ARRAY_SIZE(over); i++) {
        u32 found;

        config_write(f->id, reg, 4, (u32)over[i] | enable);
        found = *(volatile u32 *)(over[i] < MIB(1) ? 0xb0000 : over[i]);
        if (over[i] >= WINDOW && over[i] < ECAM_BASE) continue; /* may be there */
        check(found != EDU_ID, "the device shows at 0x%llx", (unsigned long long)over[i]);
        if (over[i] > memory_bytes() && over[i] < WINDOW)
            check(found == HIDDEN, "0x%llx reads 0x%x", (unsigned long long)over[i], found);
        check(ecam_read(f->id, 0, 4) == ids, "configuration space is covered");
        check(ioapic_read(IOAPIC_VERSION) == version, "the I/O APIC is covered");
        check(!lapic_read(LAPIC_ESR) && lapic_read(LAPIC_SVR) & 0x100, "the local APIC is covered");
    }
    check(guard_holds(), "memory has changed under a BAR");
}

static void bar_places(void) {
    places(edus[0], REG_BAR0, 0);
    check_works(0);
    check_works(1);
    for (u32 i = 0; i < function_count; i++) {
        const struct function *f = &functions[i];

        if (f->ids == EDU_IDS) continue;
        for (u32 bar = 0; bar < 6; bar++)
            if (f->home[bar] && !(f->home[bar] & 1)) places(f, REG_BAR0 + 4 * bar, 0);
        repair(f);
    }
    check_works(0);
    check_works(1);
}

static void rom_places(void) {
    for (u32 i = 0; i < function_count; i++) {
        const struct function *f = &functions[i];

        config_write(f->id, REG_ROM, 4, 0xfffff800);
        if (config_read(f->id, REG_ROM, 4)) places(f, REG_ROM, ROM_ENABLE);
        repair(f);
    }
    check_works(0);
}

/* Two devices at one place: whichever answers, it is one of them, and both work again. */
static void bar_on_bar(void) {
    u64 home = (u64)edus[1]->registers;

    for (u32 i = 0; i < 16; i++) {
        move(edus[0], 0, home);
        check(*(volatile u32 *)home == EDU_ID || *(volatile u32 *)home == HIDDEN, "not a device");
        move(edus[1], 0, home + (i & 1 ? EDU_BYTES : MIB(32)));
        move(edus[0], 0, home);
        move(edus[1], 0, home);
    }
    check_works(0);
    check_works(1);
    check_works(2);
}

/* --- while another CPU uses the BAR, and switches it off and on */

static void toggle_decode(void) {
    ecam_write(edus[0]->id, REG_COMMAND, 2, MASTER);
    ecam_write(edus[0]->id, REG_COMMAND, 2, MASTER | MEMORY);
    (void)*(volatile u32 *)edus[0]->registers;
    *(volatile u32 *)(edus[0]->registers + 4) = 7;
    (void)*(volatile u32 *)(u64)MIB(7);
}

static void bar_race(void) {
    const u64 over[] = {(u64)edus[0]->registers, MIB(7), LAPIC_PAGE, (u64)edus[1]->registers, WINDOW + MIB(512)};
    u32 rounds = option_given("long") ? 20000 : 2000;

    guard();
    helper_do(toggle_decode);
    for (u32 i = 0; i < rounds; i++) {
        u64 at = over[i % ARRAY_SIZE(over)];
        u32 found;

        move(edus[0], 0, at);
        found = *(volatile u32 *)(at == LAPIC_PAGE ? IOAPIC_PAGE : at);
        check(at < WINDOW || at >= ECAM_BASE || found == EDU_ID || found == HIDDEN, "0x%llx reads 0x%x",
              (unsigned long long)at, found);
    }
    helper_stop();
    check(guard_holds(), "memory has changed under a BAR");
    check_works(0);
    check_works(1);
}

/* Over the whole window: stage 2 needs new tables until there are none. */
static void bar_flood(void) {
    for (u64 at = WINDOW + MIB(64); at < ECAM_BASE - EDU_BYTES; at += MIB(2)) {
        u32 found;

        move(edus[0], 0, at);
        found = *(volatile u32 *)at;
        check(found == EDU_ID || found == HIDDEN, "0x%llx reads 0x%x", (unsigned long long)at, found);
    }
    for (u32 e = 0; e < edu_count; e++) check_works(e);
}

const struct attempt bar_attempts[] = {
    {"bar-places", bar_places}, {"rom-places", rom_places}, {"bar-on-bar", bar_on_bar},
    {"bar-race", bar_race},     {"bar-flood", bar_flood},   {0},
};
