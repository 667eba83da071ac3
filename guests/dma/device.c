/* The partition's bus and the devices on it. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"
#include "core/base/string.h"

#define DMA_SOURCE      0x80u
#define DMA_DESTINATION 0x88u
#define DMA_COUNT       0x90u
#define DMA_COMMAND     0x98u
#define DMA_BUFFER      0x40000u
#define DMA_RUN         1u
#define DMA_TO_RAM      2u

#define SENTINEL   0x5e
#define SLOT_FIRST 64u
#define SLOT_BYTES 16u
#define SLOTS      250u

struct function functions[MAX_FUNCTIONS];
u32 function_count;
struct function *edus[MAX_EDUS];
u32 edu_count;

static u8 template[PAGE_4K] __attribute__((aligned(4096)));
static u8 results[MAX_EDUS][PAGE_4K] __attribute__((aligned(4096)));

/* --- configuration space */

u32 config_read(u32 id, u32 reg, u32 size) {
    out32(0xcf8, 0x80000000u | (reg & 0xf00) << 16 | id << 8 | (reg & 0xfc));
    return size == 1 ? in8((u16)(0xcfc + (reg & 3))) : size == 2 ? in16((u16)(0xcfc + (reg & 2))) : in32(0xcfc);
}

void config_write(u32 id, u32 reg, u32 size, u32 value) {
    out32(0xcf8, 0x80000000u | (reg & 0xf00) << 16 | id << 8 | (reg & 0xfc));
    if (size == 1) out8((u16)(0xcfc + (reg & 3)), (u8)value);
    if (size == 2) out16((u16)(0xcfc + (reg & 2)), (u16)value);
    if (size == 4) out32(0xcfc, value);
}

u32 ecam_read(u32 id, u32 reg, u32 size) {
    const volatile void *at = (const volatile void *)(ECAM_BASE + ((u64)id << 12) + reg);

    return size == 1 ? *(const volatile u8 *)at : size == 2 ? *(const volatile u16 *)at : *(const volatile u32 *)at;
}

void ecam_write(u32 id, u32 reg, u32 size, u32 value) {
    volatile void *at = (volatile void *)(ECAM_BASE + ((u64)id << 12) + reg);

    if (size == 1) *(volatile u8 *)at = (u8)value;
    if (size == 2) *(volatile u16 *)at = (u16)value;
    if (size == 4) *(volatile u32 *)at = value;
}

u32 capability(u32 id, u32 kind) {
    u32 at = config_read(id, 0x34, 1) & 0xfc;

    for (u32 i = 0; at && i < 48; i++, at = config_read(id, at + 1, 1) & 0xfc)
        if (config_read(id, at, 1) == kind) return at;
    return 0;
}

/* --- functions */

static void learn(struct function *f, u32 id) {
    f->id = id;
    f->ids = config_read(id, 0, 4);
    f->rom = config_read(id, REG_ROM, 4) & ~1u;
    for (u32 i = 0; i < 6; i++) f->home[i] = config_read(id, REG_BAR0 + 4 * i, 4);
    f->registers = (volatile u8 *)(f->home[0] & ~15ull);
    f->command = MEMORY | MASTER;
    repair(f);
}

void find_functions(void) {
    for (u32 device = 1; device < 32; device++) {
        struct function *f = &functions[function_count];

        if (config_read(device << 3, 0, 2) == 0xffff) continue;
        function_count++;
        learn(f, device << 3);
        if (f->ids == EDU_IDS && edu_count < MAX_EDUS) edus[edu_count++] = f;
    }
}

struct function *find_function(u32 ids) {
    for (u32 i = 0; i < function_count; i++)
        if (functions[i].ids == ids) return &functions[i];
    return NULL;
}

void repair(const struct function *f) {
    u32 msix = capability(f->id, CAP_MSIX);

    config_write(f->id, REG_COMMAND, 2, 0);
    msi_off(f);
    if (msix) config_write(f->id, msix + 2, 2, 0);
    for (u32 i = 0; i < 6; i++) config_write(f->id, REG_BAR0 + 4 * i, 4, (u32)f->home[i]);
    config_write(f->id, REG_ROM, 4, f->rom);
    config_write(f->id, REG_COMMAND, 2, f->command);
}

u32 edu_read(u32 e, u32 reg) { return *(volatile u32 *)(edus[e]->registers + reg); }
void edu_write(u32 e, u32 reg, u32 value) { *(volatile u32 *)(edus[e]->registers + reg) = value; }

/* --- DMA */

static void put64(u32 e, u32 reg, u64 value) { *(volatile u64 *)(edus[e]->registers + reg) = value; }

void dma_start(u32 e, bool to_ram, u64 address, u32 offset, u32 bytes) {
    put64(e, DMA_SOURCE, to_ram ? DMA_BUFFER + offset : address);
    put64(e, DMA_DESTINATION, to_ram ? address : DMA_BUFFER + offset);
    put64(e, DMA_COUNT, bytes);
    put64(e, DMA_COMMAND, DMA_RUN | (to_ram ? DMA_TO_RAM : 0));
}

u64 dma_address(const volatile void *at) { return (u64)at + option_number("self", 0); }

void dma_wait(void) {
    u64 end = rdtsc() + ns_to_ticks(20000000000ull);

    for (u32 e = 0; e < edu_count; e++)
        while (edu_read(e, DMA_COMMAND) & DMA_RUN) {
            if (rdtsc() > end) {
                expect(false, "device %u never ends its transfer", e);
                return;
            }
            delay_us(1000);
        }
}

void load_buffers(void) {
    const u64 poison[2] = {POISON, POISON};

    memset(template, SENTINEL, sizeof(template));
    memcpy(template, poison, sizeof(poison));
    for (u32 e = 0; e < edu_count; e++) dma_start(e, FROM_RAM, dma_address(template), 0, PAGE_4K - 1);
    dma_wait();
}

/* What a blocked read leaves: the buffer as it was, zeros or ones. */
static bool is_nothing(const u8 *slot) {
    for (u32 i = 1; i < SLOT_BYTES; i++)
        if (slot[i] != slot[0]) return false;
    return slot[0] == SENTINEL || slot[0] == 0 || slot[0] == 0xff;
}

/* SLOTS rounds at most, each with one address for each device. */
static void probe_some(const u64 *addresses, u32 count, u32 flags, const char *what) {
    load_buffers();
    for (u32 first = 0; first < count; first += edu_count) {
        u32 n = (u32)min_u64(edu_count, count - first), slot = SLOT_FIRST + SLOT_BYTES * (first / edu_count);

        for (u32 e = 0; flags & PROBE_WRITE && e < n; e++) dma_start(e, TO_RAM, addresses[first + e], 0, SLOT_BYTES);
        dma_wait();
        for (u32 e = 0; flags & PROBE_READ && e < n; e++)
            dma_start(e, FROM_RAM, addresses[first + e], slot, SLOT_BYTES);
        dma_wait();
    }
    memset(results, 0, sizeof(results));
    for (u32 e = 0; e < edu_count; e++)
        dma_start(e, TO_RAM, dma_address(results[e]), 0, SLOT_FIRST + SLOT_BYTES * SLOTS);
    dma_wait();
    for (u32 i = 0; i < count; i++) {
        const u8 *slot = &results[i % edu_count][SLOT_FIRST + SLOT_BYTES * (i / edu_count)];

        check(is_nothing(slot), "%s: 0x%llx holds 0x%llx for us", what, (unsigned long long)addresses[i],
              (unsigned long long)*(const u64 *)slot);
    }
}

void probe(const u64 *addresses, u32 count, u32 flags, const char *what) {
    const u32 most = SLOTS * edu_count;

    for (u32 first = 0; first < count; first += most)
        probe_some(addresses + first, (u32)min_u64(most, count - first), flags, what);
}
