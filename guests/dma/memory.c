/* DMA to and from everything that has an address. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"
#include "core/base/string.h"

#define VGA_HOLE   0xa0000ull
#define AMD_UNIT   0xfed80000ull
#define INTEL_UNIT 0xfed90000ull
#define OWN_BYTES  16u

static u64 list[4096];
static u32 listed;

static void add(u64 address) {
    if (listed < ARRAY_SIZE(list)) list[listed++] = address;
}
static void add_range(u64 from, u64 to, u64 step) {
    for (u64 at = from; at < to; at += step) add(at);
}
static void try_list(u32 flags, const char *what) {
    probe(list, listed, flags, what);
    listed = 0;
}

/* --- its own memory */

/* The page's bytes go to the device and come back elsewhere; then the device writes them. */
static void own(void) {
    static u8 copy[MAX_EDUS][OWN_BYTES], old[MAX_EDUS][OWN_BYTES];

    for (u32 first = 0; first < listed; first += edu_count) {
        u32 n = (u32)min_u64(edu_count, listed - first);

        load_buffers();
        memset(copy, 0, sizeof(copy));
        for (u32 e = 0; e < n; e++) memcpy(old[e], (const void *)list[first + e], OWN_BYTES);
        for (u32 e = 0; e < n; e++) dma_start(e, FROM_RAM, list[first + e], 64, OWN_BYTES);
        dma_wait();
        for (u32 e = 0; e < n; e++) dma_start(e, TO_RAM, (u64)copy[e], 64, OWN_BYTES);
        dma_wait();
        for (u32 e = 0; e < n; e++)
            expect(!memcmp(copy[e], old[e], OWN_BYTES), "0x%llx reads otherwise by DMA",
                   (unsigned long long)list[first + e]);
    }
}

static void own_writes(void) {
    static u8 old[MAX_EDUS][OWN_BYTES];
    const u64 poison[2] = {POISON, POISON};

    for (u32 first = 0; first < listed; first += edu_count) {
        u32 n = (u32)min_u64(edu_count, listed - first);

        load_buffers();
        for (u32 e = 0; e < n; e++) memcpy(old[e], (const void *)list[first + e], OWN_BYTES);
        for (u32 e = 0; e < n; e++) dma_start(e, TO_RAM, list[first + e], 0, OWN_BYTES);
        dma_wait();
        for (u32 e = 0; e < n; e++) {
            void *at = (void *)list[first + e];

            expect(!memcmp(at, poison, OWN_BYTES), "0x%llx is not written by DMA", (unsigned long long)list[first + e]);
            memcpy(at, old[e], OWN_BYTES);
        }
    }
}

/* Guest-physical addresses; below 1 MiB the trampoline's page stays as it is. Its own program is read only: as long as
 * addresses are not translated, the hypervisor lies there. */
static void dma_own(void) {
    u64 end = memory_bytes();

    add(0x1000);
    add(0x2ff8); /* over the end of a page */
    add(VGA_HOLE - PAGE_4K);
    add(VGA_HOLE - OWN_BYTES);
    add_range(MIB(4), end, MIB(1) - PAGE_4K);
    add(MIB(8) - 8);
    add(end - PAGE_4K);
    add(end - OWN_BYTES);
    own_writes();
    add_range(MIB(1), MIB(4), MIB(1) / 8);
    own();
    listed = 0;
}

/* --- others' */

static void dma_beyond(void) {
    u64 end = memory_bytes();

    add_range(VGA_HOLE, 0xc0000, 0x4000);
    add_range(end, end + MIB(4), MIB(1) / 16);
    add(end + 0x1000);
    add(0xb0000000);
    add_range(GIB(4), GIB(5), MIB(64));
    try_list(PROBE_WRITE | PROBE_READ, "beyond");
    /* Begins in what is its own and goes on. */
    load_buffers();
    memset((void *)(end - 64), 0x11, 64);
    for (u32 e = 0; e < edu_count; e++) dma_start(e, TO_RAM, end - 64, 0, 4000);
    dma_wait();
    for (u32 e = 0; e < edu_count; e++) dma_start(e, FROM_RAM, VGA_HOLE - 16, 64, 3000);
    dma_wait();
}

/* Machine addresses: whatever is there, from its own end to the machine's. ram=, writes=: stride. */
static void dma_hypervisor(void) {
    u64 end = option_number("ram", MIB(512));

    add_range(memory_bytes(), end, MIB(1));
    add_range(end - MIB(8), end, MIB(1) / 8);
    try_list(PROBE_WRITE | PROBE_READ, "hypervisor");
    add_range(memory_bytes() + 0x8000, end, MIB(1) / (option_given("long") ? 16 : 1));
    try_list(PROBE_READ, "hypervisor");
}

/* victim=, victim_bytes= */
static void dma_victim(void) {
    u64 base = option_number("victim", 0), bytes = option_number("victim_bytes", MIB(16));

    add_range(base, base + bytes, MIB(1) / 4);
    add_range(base + 0x7ff0, base + bytes, MIB(1));
    add(base + bytes - PAGE_4K);
    try_list(PROBE_WRITE | PROBE_READ, "victim");
}

static void dma_iommu(void) {
    add_range(AMD_UNIT, AMD_UNIT + 0x40, 8);
    add_range(AMD_UNIT + 0x2000, AMD_UNIT + 0x2030, 8);
    add_range(INTEL_UNIT, INTEL_UNIT + 0x100, 16);
    try_list(PROBE_WRITE | PROBE_READ, "iommu");
}

/* Reads only of what takes messages: those are another attempt. */
static void dma_apics(void) {
    add_range(IOAPIC_PAGE, IOAPIC_PAGE + 0x20, 0x10);
    try_list(PROBE_WRITE | PROBE_READ, "ioapic");
    add_range(LAPIC_PAGE, LAPIC_PAGE + 0x400, 0x40);
    add_range(LAPIC_PAGE + 0x1000, LAPIC_PAGE + 0x100000, 0x11000);
    try_list(PROBE_READ, "lapic");
}

static void dma_bars(void) {
    for (u32 i = 0; i < function_count; i++) add((u64)functions[i].registers);
    add_range(WINDOW, ECAM_BASE, MIB(16));
    add_range(0xfe000000, ECAM_BASE + MIB(3), MIB(1) / 8);
    add(0xfed00000);
    add(0xfed1c000);
    add(0xffff0000);
    try_list(PROBE_WRITE | PROBE_READ, "bar");
}

/* Its own memory with upper bits set: no table translates those. */
static void beyond_bits(u32 from, u32 to) {
    for (u32 bit = from; bit < to; bit++) {
        add(BIT(bit));
        add(BIT(bit) - PAGE_4K);
        add(BIT(bit) | MIB(4));
    }
    try_list(PROBE_WRITE | PROBE_READ, "limit");
}
static void dma_limit(void) { beyond_bits(33, 48); }
static void dma_wide(void) { beyond_bits(49, 64); }

/* --- bus mastering */

static void master_off(void) {
    volatile u64 *page = (volatile u64 *)MIB(6);

    load_buffers();
    for (u32 e = 0; e < edu_count; e++) {
        page[16 * e] = e;
        dma_start(e, TO_RAM, (u64)&page[16 * e], 0, OWN_BYTES);
        config_write(edus[e]->id, REG_COMMAND, 2, MEMORY);
    }
    dma_wait();
    for (u32 e = 0; e < edu_count; e++) check(page[16 * e] == e, "DMA without bus mastering");
    for (u32 i = 0; i < 1000; i++) config_write(edus[i % edu_count]->id, REG_COMMAND, 2, i & 1 ? MEMORY : MASTER);
    for (u32 e = 0; e < edu_count; e++) repair(edus[e]);
    for (u32 e = 0; e < edu_count; e++) dma_start(e, TO_RAM, (u64)&page[16 * e], 0, OWN_BYTES);
    dma_wait();
    for (u32 e = 0; e < edu_count; e++) expect(page[16 * e] == POISON, "no DMA with bus mastering on again");
}

const struct attempt memory_attempts[] = {
    {"dma-own", dma_own},
    {"dma-beyond", dma_beyond},
    {"dma-hypervisor", dma_hypervisor},
    {"dma-victim", dma_victim},
    {"dma-iommu", dma_iommu},
    {"dma-apics", dma_apics},
    {"dma-bars", dma_bars},
    {"dma-limit", dma_limit},
    {"dma-wide", dma_wide},
    {"bus-master", master_off},
    {0},
};
