/* Every I/O port, read and written in each width, alone and in strings. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

struct range {
    u16 first, last;
};
/* The small PC on the board: docs/partition-file.md. */
static const struct range board[] = {
    {0x20, 0x21}, {0x40, 0x43},   {0x60, 0x61},   {0x64, 0x64},   {0x70, 0x71},   {0x92, 0x92},
    {0xa0, 0xa1}, {0x3f8, 0x3ff}, {0x4d0, 0x4d1}, {0x600, 0x60b}, {0xcf8, 0xcff},
};

static bool on_board(u32 port) {
    for (u32 i = 0; i < ARRAY_SIZE(board); i++)
        if (port >= board[i].first && port <= board[i].last) return true;
    return false;
}

/* Those of our own that would end the run. */
static bool ends_run(u32 port) {
    return port == 0x64 || port == 0x92 || (port >= 0xcf8 && port <= 0xcfb) || (port >= 0x600 && port <= 0x607) ||
           (acpi.has_reset && port == acpi.reset_port);
}

static void read_all(void) {
    for (u32 port = 0; port < 0x10000; port++) {
        u8 value = in8((u16)port);
        check(on_board(port) || value == 0xff, "0x%x reads 0x%x", port, value);
    }
}

static void read_wide(void) {
    for (u32 port = 0; port < 0x10000; port += port < 0x800 ? 1 : 61) {
        u16 two = in16((u16)port);
        u32 four = in32((u16)port);

        for (u32 i = 0; i < 4; i++) {
            if (on_board((port + i) & 0xffff)) continue;
            check(i > 1 || (two >> (8 * i) & 0xff) == 0xff, "0x%x reads 0x%x", port, two);
            check((four >> (8 * i) & 0xff) == 0xff, "0x%x reads 0x%x", port, four);
        }
    }
}

/* The console and the interrupt controllers are our own, and were among what was written. */
static void repair(void) {
    out32(0xcf8, 0);
    console_init();
    pic_init();
    (void)in8(0x60);
}

/* Each port by itself in the first 4096; above, where nothing of ours is, four at once. */
static void write_all(void) {
    for (u32 port = 0; port < 0x1000; port++) {
        if (ends_run(port)) continue;
        out8((u16)port, 0xff);
        out8((u16)port, 0x00);
        check(on_board(port) || in8((u16)port) == 0xff, "0x%x keeps what is written", port);
    }
    for (u32 port = 0x1000; port < 0x10000; port += 4) {
        out32((u16)port, ~0u);
        out32((u16)port, 0);
        check(in32((u16)port) == ~0u, "0x%x keeps what is written", port);
    }
    repair();
}

static void write_wide(void) {
    for (u32 port = 0; port < 0x10000; port += port < 0x800 ? 1 : 61) {
        bool skip = false;

        for (u32 i = 0; i < 4; i++) skip |= ends_run((port + i) & 0xffff);
        if (skip) continue;
        out16((u16)port, (u16)noise());
        out32((u16)port, (u32)noise());
        check(true, "-");
    }
    repair();
}

static void rep_in(u16 port, void *to, u64 count) {
    __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
static void rep_out(u16 port, const void *from, u64 count) {
    __asm__ volatile("rep outsl" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

/* Strings from ports to memory that is not ours, and over its end. */
static void strings(void) {
    u64 end = memory_bytes();

    for (u32 i = 0; i < 64; i++) ((u8 *)end)[-1 - (int)i] = 0;
    rep_in(0x5a0, (void *)(end - 64), 128);
    check(*(volatile u64 *)(end - 8) == ~0ull && *(volatile u64 *)end == ~0ull, "rep insb at end");
    rep_in(0x5a0, (void *)HOLE, 64);
    check(*(volatile u64 *)HOLE == ~0ull, "rep insb to nowhere");
    rep_out(0x5a0, (const void *)(end - 64), 32);
    rep_out(0x5a0, (const void *)HOLE, 32);
    rep_out(0x5a0, (const void *)(LAPIC_PAGE - 16), 8);
    check(true, "-");
}

/* A system-management interrupt would leave the hypervisor's reach: the port is not there. */
static void smi(void) {
    for (u32 code = 0; code < 256; code++) {
        out8(0xb3, (u8)code);
        out8(0xb2, (u8)code);
        check(in8(0xb2) == 0xff && in8(0xb3) == 0xff, "0xb2 answers to 0x%x", code);
    }
}

/* The machine's PCI functions, by both doors. */
static void pci(void) {
    for (u32 bus = 0; bus < 4; bus++)
        for (u32 function = 0; function < 256; function++) {
            out32(0xcf8, 0x80000000 | bus << 16 | function << 8);
            check(in32(0xcfc) == ~0u, "%u:%u is 0x%x", bus, function, in32(0xcfc));
            out32(0xcfc, 0);
        }
    out32(0xcf8, 0);
}

const struct attempt port_attempts[] = {
    {"ports-read", read_all},   {"ports-read-wide", read_wide},
    {"ports-write", write_all}, {"ports-write-wide", write_wide},
    {"ports-strings", strings}, {"smi-port", smi},
    {"pci-config", pci},        {0},
};
