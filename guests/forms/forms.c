/* Checks how it was started: registers, memory map, modules, command line, RSDP, as the boot form's specification says,
 * whoever loads it. 32-bit code without a library.
 * Source: Multiboot Specification 0.6.96, Machine state; Multiboot2 Specification 2.0, I386 machine state; Xen, PVH
 * (docs/misc/pvh.pandoc) and hvm/start_info.h.
 *
 * Command line, each optional: ram=KIB of memory in all, modules=NUMBER, module=BYTES and sum=SUM of all modules, one
 * behind the other, exit=PORT, to which 42 is written in the end. */
#include <stdbool.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

struct registers {
    u32 eax, ebx, eflags, cr0, cr4, efer;
    u16 cs, ds, es, ss;
};

struct module {
    u64 at, bytes;
    const char *name;
};
#define MODULES 4 /* that are looked at */

/* A range of memory, as all three forms have it, and what else was given. */
struct given {
    const char *form, *cmdline, *loader;
    u32 map, map_end, stride; /* first range, end, distance */
    u32 modules;
    struct module module[MODULES];
    u64 rsdp;
    u32 lower, upper;
};

struct registers registers;
void check(void);

extern u8 load_end[], bss_end[], header[];
static u32 zeroes[64]; /* bss */
static u32 passed, failed;

static void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static void out16(u16 port, u16 value) { __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port)); }
static void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }
static u8 in8(u16 port) {
    u8 value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void say(const char *text) {
    for (; *text; text++) {
        while (!(in8(0x3fd) & 0x20)) {
        }
        out8(0x3f8, (u8)*text);
    }
}

static void say_hex(u64 value) {
    char text[19] = "0x";
    u32 at = 2;

    for (int shift = 60; shift >= 0; shift -= 4)
        if (value >> shift || shift == 0) text[at++] = "0123456789abcdef"[value >> shift & 15];
    text[at] = 0;
    say(text);
}

static void expect(bool good, const char *what, u64 got) {
    say(good ? "PASS " : "FAIL ");
    say(what);
    say(" ");
    say_hex(got);
    say("\n");
    passed += good;
    failed += !good;
}

static bool same(const char *a, const char *b, u32 bytes) {
    for (u32 i = 0; i < bytes; i++)
        if (a[i] != b[i]) return false;
    return true;
}

/* The number behind NAME= on the command line. */
static bool option(const char *line, const char *name, u32 *value) {
    u32 length = 0;

    while (name[length]) length++;
    for (; *line; line++) {
        if (!same(line, name, length) || line[length] != '=') continue;
        *value = 0;
        for (line += length + 1; *line >= '0' && *line <= '9'; line++) *value = *value * 10 + (u32)(*line - '0');
        return true;
    }
    return false;
}

static u32 word(u32 at) { return *(const u32 *)at; }
static u64 word64(u32 at) { return *(const u64 *)at; }

static void read_mb1(struct given *g) {
    u32 info = registers.ebx;

    g->form = "multiboot1";
    expect((word(info) & 0x245) == 0x245, "information flags", word(info));
    g->lower = word(info + 4);
    g->upper = word(info + 8);
    g->cmdline = (const char *)word(info + 16);
    g->modules = word(info) & 8 ? word(info + 20) : 0;
    for (u32 i = 0; i < g->modules && i < MODULES; i++) {
        u32 at = word(info + 24) + 16 * i;

        g->module[i] = (struct module){word(at), word(at + 4) - word(at), (const char *)word(at + 8)};
    }
    g->map = word(info + 48) + 4;
    g->map_end = word(info + 48) + word(info + 44);
    g->stride = word(word(info + 48)) + 4;
    g->loader = (const char *)word(info + 64);
}

static void read_mb2(struct given *g) {
    u32 info = registers.ebx, at = info + 8;

    g->form = "multiboot2";
    expect(info % 8 == 0 && word(info + 4) == 0, "information at 8 bytes", info);
    while (at < info + word(info) && word(at) != 0) {
        u32 data = at + 8;

        switch (word(at)) {
        case 1: g->cmdline = (const char *)data; break;
        case 2: g->loader = (const char *)data; break;
        case 3:
            if (g->modules < MODULES)
                g->module[g->modules] =
                    (struct module){word(data), word(data + 4) - word(data), (const char *)(data + 8)};
            g->modules++;
            break;
        case 4:
            g->lower = word(data);
            g->upper = word(data + 4);
            break;
        case 6:
            g->stride = word(data);
            g->map = data + 8;
            g->map_end = at + word(at + 4);
            break;
        case 15: g->rsdp = data; break;
        default: break;
        }
        at += (word(at + 4) + 7) & ~7u;
    }
    expect(word(at) == 0 && word(at + 4) == 8 && at + 8 == info + word(info), "end tag", at);
}

static void read_pvh(struct given *g) {
    u32 info = registers.ebx;

    g->form = "pvh";
    expect(word(info) == 0x336ec578, "start information", word(info));
    expect(word(info + 4) >= 1, "version", word(info + 4));
    g->modules = word(info + 12);
    for (u32 i = 0; i < g->modules && i < MODULES; i++) {
        u32 at = (u32)word64(info + 16) + 32 * i;

        g->module[i] = (struct module){word64(at), word64(at + 8), (const char *)(u32)word64(at + 16)};
    }
    g->cmdline = (const char *)word(info + 24);
    g->rsdp = word64(info + 32);
    g->map = word(info + 40);
    g->stride = 24;
    g->map_end = g->map + 24 * word(info + 48);
}

static void check_registers(void) {
    const struct registers *r = &registers;
    u32 code, data;

    expect((r->cr0 & 0x80000001) == 1, "cr0: protected, no paging", r->cr0);
    expect(!(r->eflags & 0x20300), "eflags: no vm, if, tf", r->eflags);
    expect(!(r->efer & 0x500), "efer: no long mode", r->efer);
    expect(!(r->cr4 & 0x20), "cr4: no pae", r->cr4);
    expect(r->ds == r->es && r->es == r->ss && r->cs != r->ds && r->cs, "selectors", r->cs << 16 | r->ds);
    /* Flat up to the top: a limit below would fault here. */
    __asm__ volatile("movl %%ds:(%1), %0" : "=r"(data) : "r"(0xfffffffcu));
    __asm__ volatile("movl %%cs:(%1), %0" : "=r"(code) : "r"(header));
    expect(code == word((u32)header), "code segment starts at 0", code);
    data = word(0x100500);
    *(volatile u32 *)0x500 = ~data;
    expect(word(0x100500) == data, "a20", data);
}

static void check_image(void) {
    u32 sum = 0;

    for (u32 i = 0; i < 64; i++) sum |= zeroes[i];
    expect(word((u32)load_end - 4) == 0x600d600d && sum == 0, "image is whole, bss is zero", sum);
}

/* RAM in the map can be written at both ends, unless something lies there. */
static bool holds(u64 at) {
    volatile u32 *p = (volatile u32 *)(u32)at;
    u32 old = *p;
    bool good;

    *p = ~old;
    good = *p == ~old;
    *p = old;
    return good;
}

static bool in_ram(const struct given *g, u64 at, u64 bytes) {
    for (u32 e = g->map; e < g->map_end; e += g->stride)
        if (word(e + 16) == 1 && at >= word64(e) && at + bytes <= word64(e) + word64(e + 8)) return true;
    return false;
}

static void check_map(const struct given *g) {
    u64 last = 0, ram = 0;
    bool sorted = true, good = true;
    u32 wanted;

    for (u32 e = g->map; e < g->map_end; e += g->stride) {
        u64 base = word64(e), bytes = word64(e + 8);

        sorted = sorted && base >= last && bytes;
        last = base + bytes;
        if (word(e + 16) != 1 || last > 0x100000000ull) continue;
        ram += bytes;
        good = good && holds(base ? base : 0x500) && holds(last - 4);
    }
    expect(sorted && ram, "memory map is sorted", (g->map_end - g->map) / g->stride);
    expect(good, "memory holds what is written", ram);
    expect(in_ram(g, 0x100000, (u32)bss_end - 0x100000), "image is in memory", (u32)bss_end);
    expect(in_ram(g, (u32)g->cmdline, 1) && in_ram(g, registers.ebx, 64), "information is in memory", registers.ebx);
    if (option(g->cmdline, "ram", &wanted)) expect(ram >> 10 == wanted, "size of memory", ram >> 10);
    if (g->upper) {
        expect(g->lower >= 600 && g->lower <= 640, "lower memory", g->lower);
        expect(in_ram(g, 0x100000, (u64)g->upper << 10) && !in_ram(g, 0x100000, ((u64)g->upper << 10) + 4096),
               "upper memory", g->upper);
    }
}

static bool beside(const struct module *a, const struct module *b) {
    return a->at + a->bytes <= b->at || b->at + b->bytes <= a->at;
}

static void check_modules(const struct given *g) {
    u32 wanted, sum = 0, bytes = 0, count = g->modules < MODULES ? g->modules : MODULES;

    if (option(g->cmdline, "modules", &wanted)) expect(g->modules == wanted, "number of modules", g->modules);
    if (!option(g->cmdline, "module", &wanted)) return;
    for (u32 i = 0; i < count; i++) {
        const struct module *m = &g->module[i];

        expect(m->at % 4096 == 0 && m->at >= (u32)bss_end && in_ram(g, m->at, m->bytes), "place of the module", m->at);
        for (u32 j = 0; j < i; j++) expect(beside(m, &g->module[j]), "one beside the other", m->at);
        for (u32 j = 0; j < m->bytes; j++) sum = sum * 31 + *(const u8 *)(u32)(m->at + j);
        bytes += (u32)m->bytes;
        if (m->name) {
            say("module ");
            say(m->name);
            say("\n");
        }
    }
    expect(bytes == wanted, "size of the modules", bytes);
    if (option(g->cmdline, "sum", &wanted)) expect(sum == wanted, "sum of the modules", sum);
}

static void check_rsdp(const struct given *g) {
    const u8 *p = (const u8 *)(u32)g->rsdp;
    u8 sum = 0;

    for (u32 i = 0; i < 20; i++) sum = (u8)(sum + p[i]);
    expect(same((const char *)p, "RSD PTR ", 8) && sum == 0, "rsdp", g->rsdp);
}

/* The 8259 pair and the 8254 reach the processor without a word to the local APIC or the 8254 itself, as firmware
 * leaves them. Source: MultiProcessor Specification 1.4, Virtual Wire Mode; 8259A datasheet, Initialization Command
 * Words. */
static volatile u32 ticks;
void tick(void);
__asm__(".globl tick\n"
        "tick: incl ticks\n"
        "pushl %eax\n"
        "movb $0x20, %al\n"
        "outb %al, $0x20\n"
        "popl %eax\n"
        "iret\n");

static void check_ticks(void) {
    static u64 gdt[3] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff}, idt[0x21];
    static const u8 words[4] = {0x11, 0x20, 0x04, 0x01}; /* edges, vectors from 0x20 on, a slave at input 2 */
    struct __attribute__((packed)) {
        u16 limit;
        u32 base;
    } gdtr = {sizeof(gdt) - 1, (u32)gdt}, idtr = {sizeof(idt) - 1, (u32)idt};

    idt[0x20] = ((u32)tick & 0xffff) | 8 << 16 | (u64)0x8e00 << 32 | (u64)((u32)tick >> 16) << 48;
    __asm__ volatile("lgdt %0\n\t"
                     "ljmpl $8, $1f\n"
                     "1: movw %w2, %%ds\n\t"
                     "movw %w2, %%es\n\t"
                     "movw %w2, %%ss\n\t"
                     "lidt %1" ::"m"(gdtr),
                     "m"(idtr), "r"(16)
                     : "memory");
    for (u32 i = 0; i < 4; i++) out8(i ? 0x21 : 0x20, words[i]);
    out8(0x21, 0xfe); /* the clock alone */
    __asm__ volatile("sti");
    while (ticks < 3) __asm__ volatile("hlt");
    __asm__ volatile("cli");
    out8(0x21, 0xff);
    expect(ticks == 3, "ticks of the clock", ticks);
}

static __attribute__((noreturn)) void end(const struct given *g) {
    u32 port;

    say("forms: ");
    say(g->form);
    say(failed ? " bad\n" : " good\n");
    while (!(in8(0x3fd) & 0x40)) {
    }
    if (option(g->cmdline, "exit", &port)) out32((u16)port, 42);
    out16(0x604, 0x2000 | 5 << 10); /* power off: ours, and an emulator's */
    out16(0x604, 0x2000);
    for (;;) __asm__ volatile("hlt");
}

void check(void) {
    struct given g = {0};

    if (registers.eax == 0x2badb002)
        read_mb1(&g);
    else if (registers.eax == 0x36d76289)
        read_mb2(&g);
    else
        read_pvh(&g);
    say("cmdline ");
    say(g.cmdline);
    say("\nloader ");
    say(g.loader ? g.loader : "");
    say("\n");
    check_registers();
    check_image();
    check_map(&g);
    check_modules(&g);
    if (g.rsdp) check_rsdp(&g);
    check_ticks();
    end(&g);
}
