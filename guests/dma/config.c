/* Configuration space, its own and everybody's, written with everything; resets without end. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"

#define ALL_BYTES    0x100u
#define WIDE_BYTES   0x1000u
#define MACHINE_ECAM 0xb0000000ull /* where SeaBIOS puts it on q35 */
#define PCIE_START   0x8000u
#define NVME_IDS     0x00101b36u
#define E1000E_IDS   0x10d38086u
#define E1000E_ICR   0xc0u
#define E1000E_ICS   0xc8u
#define E1000E_IMS   0xd0u
#define E1000E_IMC   0xd8u
#define E1000E_IVAR  0xe4u
#define OTHER_CAUSE  BIT(24)
#define MSIX_VECTOR  0x71u

typedef u32 (*read_fn)(u32 id, u32 reg, u32 size);
typedef void (*write_fn)(u32 id, u32 reg, u32 size, u32 value);

static const struct {
    const char *name;
    read_fn read;
    write_fn write;
    u32 others, buses; /* registers of functions that are not there */
} ways[] = {{"port", config_read, config_write, ALL_BYTES, 256}, {"ecam", ecam_read, ecam_write, WIDE_BYTES, 1}};

static bool is_ours(u32 id) {
    for (u32 i = 0; i < function_count; i++)
        if (functions[i].id == id) return true;
    return false;
}

static void check_identities(const char *way) {
    for (u32 i = 0; i < function_count; i++)
        check(config_read(functions[i].id, 0, 4) == functions[i].ids, "%s: function %u is 0x%x", way, i,
              config_read(functions[i].id, 0, 4));
}

/* --- its own */

static u32 value_of(u32 kind) { return kind == 0 ? ~0u : kind == 1 ? 0 : (u32)noise(); }

static void write_all(const struct function *f, u32 way, u32 kind) {
    for (u32 size = 1; size <= 4; size *= 2)
        for (u32 reg = 0; reg < WIDE_BYTES; reg += size) {
            if (reg >= ALL_BYTES && size < 4 && reg % 64 >= 8 && !option_given("long")) continue;
            ways[way].write(f->id, reg, size, value_of(kind));
        }
}

static void own_registers(void) {
    for (u32 way = 0; way < ARRAY_SIZE(ways); way++)
        for (u32 i = 0; i < function_count; i++) {
            const struct function *f = &functions[i];

            if (i > 2 && f->ids == EDU_IDS) continue; /* all alike */
            for (u32 kind = 0; kind < 3; kind++) write_all(f, way, kind);
            if (f->ids == EDU_IDS) *(volatile u32 *)(f->registers + EDU_RAISE) = 1;
            check_identities(ways[way].name);
            repair(f);
        }
    drain();
    for (u32 e = 0; e < edu_count; e++) expect(edu_read(e, 0) == EDU_ID, "device %u is gone", e);
}

/* Unaligned, and over the end of a register. */
static void odd_accesses(void) {
    const struct function *f = edus[0];

    for (u32 reg = 0; reg < ALL_BYTES; reg++) {
        ecam_write(f->id, reg, 2, (u32)noise());
        ecam_write(f->id, reg, 4, (u32)noise());
        *(volatile u64 *)(ECAM_BASE + ((u64)f->id << 12) + reg) = noise();
        out32(0xcf8, (u32)noise() | 0x80000000u);
        out16(0xcfd, (u16)noise());
        out32(0xcfd, (u32)noise());
        out8(0xcf8, (u8)noise());
        out16(0xcfa, (u16)noise());
    }
    repair(f);
    check_identities("odd");
    expect(edu_read(0, 0) == EDU_ID, "the device is gone");
}

/* --- others': as if nobody were there, but for the host bridge */

/* What QEMU's q35 has on bus 0 beside the devices of the file: host bridge, IOMMU of AMD, ISA bridge, SATA, SMBus. */
static bool of_machine(u32 id) { return id == 0 || id == 0x08 || id == 0xf8 || id == 0xfa || id == 0xfb; }

/* The host bridge: an identity, a class, and zeros. */
static u32 foreign_value(u32 id, u32 reg) {
    if (id) return ~0u;
    return reg == 0 ? 0x00081b36 : reg == 8 ? 0x06000000 : 0;
}

/* Registers from first on: noise in all sizes, after which they read as ever. */
static void write_foreign(u32 way, u32 id, u32 first, u32 step) {
    u32 bytes = of_machine(id) ? WIDE_BYTES : ways[way].others;

    for (u32 reg = first; reg < bytes; reg += step) {
        u32 size = BIT(noise() % 3);

        ways[way].write(id, reg | ((u32)noise() & 3 & -size), size, (u32)noise());
        if (of_machine(id)) ways[way].write(id, reg, 4, ~0u);
    }
    for (u32 reg = first; reg < bytes; reg += step)
        check(ways[way].read(id, reg, 4) == foreign_value(id, reg), "%s: 0x%x has changed at 0x%x", ways[way].name, id,
              reg);
}

/* All registers of those that there are. Of the others every so manyth, from an offset that goes round. */
static void foreign(void) {
    for (u32 way = 0; way < ARRAY_SIZE(ways); way++)
        for (u32 id = 0; id < ways[way].buses * 256; id++) {
            u32 step = of_machine(id) ? 4 : way ? 64 : id < 256 ? 4 : 0x44;

            if (is_ours(id) || (id >= 2048 && id % 19 && !option_given("long"))) continue;
            write_foreign(way, id, id * 4 % step, step);
            check(ways[way].read(id, 0, 4) == foreign_value(id, 0), "%s: 0x%x is there", ways[way].name, id);
        }
    check_identities("foreign");
}

static void write_absent(u64 space, u32 first, u32 step) {
    for (u64 at = space + first; at < space + WIDE_BYTES; at += step) {
        *(volatile u32 *)at = (u32)noise();
        check(*(volatile u32 *)at == ~0u, "0x%llx reads 0x%x", (unsigned long long)at, *(volatile u32 *)at);
    }
}

/* What would be further buses, up to the I/O APIC, and the machine's own space: as memory that is not there. */
static void beyond_bus(void) {
    for (u32 id = 0x100; id < (IOAPIC_PAGE - ECAM_BASE) >> 12; id++)
        write_absent(ECAM_BASE + ((u64)id << 12), id * 4 % 0x400, 0x400);
    for (u32 id = 0; id < 0x200; id++)
        write_absent(MACHINE_ECAM + ((u64)id << 12), of_machine(id) ? 0 : id * 4 % 0x400, of_machine(id) ? 4 : 0x400);
    check_identities("beyond");
}

/* --- resets and power states, without end */

static void resets(void) {
    for (u32 i = 0; i < function_count; i++) {
        const struct function *f = &functions[i];
        u32 pm = capability(f->id, CAP_PM), pcie = capability(f->id, CAP_PCIE);

        for (u32 k = 0; pm && k < 200; k++) config_write(f->id, pm + 4, 2, k & 3);
        for (u32 k = 0; pcie && k < 5; k++) {
            dma_start(k % edu_count, TO_RAM, MIB(6), 0, 16); /* others go on meanwhile */
            config_write(f->id, pcie + 8, 2, PCIE_START | (u32)noise());
            expect(config_read(f->id, 0, 4) == f->ids, "function %u does not come back", i);
            check(!(config_read(f->id, REG_COMMAND, 2) & (MASTER | MEMORY)) || !(config_read(f->id, pcie + 4, 4) >> 28),
                  "function %u is still on after its reset", i);
        }
        repair(f);
        expect(config_read(f->id, REG_COMMAND, 2) == f->command, "function %u stays off", i);
    }
    dma_wait();
}

/* --- MSI-X: masked and not while it is raised; switched off only in between, or QEMU's e1000e fails an assertion of
 * its own (e1000e_intrmgr_on_throttling_timer) */

static const struct function *card;
static u32 msix;

static volatile u32 *card_register(u32 reg) { return (volatile u32 *)(card->registers + reg); }
static volatile u32 *card_entry(void) {
    u32 at = config_read(card->id, msix + 4, 4);

    return (volatile u32 *)((card->home[at & 7] & ~15ull) + (at & ~7u));
}

static void raise_card(void) {
    *card_register(E1000E_ICR) = ~0u;
    *card_register(E1000E_IMS) = OTHER_CAUSE;
    *card_register(E1000E_ICS) = OTHER_CAUSE;
}

static void quiet_card(void) {
    *card_register(E1000E_IMC) = ~0u;
    *card_register(E1000E_ICR) = ~0u;
    delay_us(20000); /* its throttling ends */
}

static void toggle_msix(void) {
    static u32 turn;

    ecam_write(card->id, msix + 2, 2, turn++ & 1 ? 0x8000 : 0xc000);
}

static bool card_interrupts(u32 ms) {
    u64 end = rdtsc() + ns_to_ticks((u64)ms * 1000000);

    arrived[MSIX_VECTOR] = 0;
    interrupts_on();
    while (!arrived[MSIX_VECTOR] && rdtsc() < end) {
        raise_card();
        delay_us(500);
    }
    interrupts_off();
    return arrived[MSIX_VECTOR];
}

static void msix_toggled(void) {
    volatile u32 *entry;

    card = find_function(E1000E_IDS);
    if (!card) return;
    msix = capability(card->id, CAP_MSIX);
    entry = card_entry();
    *card_register(E1000E_IVAR) = 1u << 19; /* other causes: entry 0 */
    entry[0] = (u32)msi_address(lapic_id());
    entry[1] = 0;
    entry[2] = MSIX_VECTOR;
    entry[3] = 0;
    config_write(card->id, msix + 2, 2, 0x8000);
    expect(card_interrupts(2000), "MSI-X does not come");
    helper_do(toggle_msix);
    interrupts_on();
    for (u32 i = 0; i < 2000; i++) {
        raise_card();
        entry[3] = i & 1;
        if (i % 16 == 0) entry[0] = (u32)noise(); /* anywhere, for a moment */
        entry[0] = (u32)msi_address(lapic_id());
    }
    interrupts_off();
    helper_stop();
    quiet_card();
    for (u32 i = 0; i < 500; i++) config_write(card->id, msix + 2, 2, i & 1 ? 0x8000 : 0);
    entry[3] = 0;
    expect(card_interrupts(2000), "MSI-X does not come any more");
    config_write(card->id, msix + 2, 2, 0x8000 | 0x4000);
    drain();
    check(!card_interrupts(20), "MSI-X comes though masked");
    quiet_card();
    for (u32 i = 0; i < 64; i++) /* the whole table and what shares its page */
        for (u32 word = 0; word < 4; word++) entry[4 * i + word] = (u32)noise();
    repair(card);
    drain();
    for (u32 vector = 0; vector < 256; vector++) arrived[vector] = 0;
}

const struct attempt config_attempts[] = {
    {"config-own", own_registers},
    {"config-odd", odd_accesses},
    {"config-foreign", foreign},
    {"config-beyond", beyond_bus},
    {"resets", resets},
    {"msix-toggled", msix_toggled},
    {0},
};
