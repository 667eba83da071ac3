/* What a partition does only once: each of these must end it, and it alone, with a crash or a reset
 * that the log explains. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define PTE         3u
#define LARGE       0x83u
#define WINDOW      BIT(39)
#define FIRST_POWER 32
/* Each power of two from 4 GiB to the most that a processor can have. */
#define EACH_POWER(X)                                                                                                  \
    X(32)                                                                                                              \
    X(33) X(34) X(35) X(36) X(37) X(38) X(39) X(40) X(41) X(42) X(43) X(44) X(45) X(46) X(47) X(48) X(49) X(50) X(51)

extern u64 boot_pml4[];
static u64 pdpt[512], directory[512] __attribute__((aligned(4096)));

struct __attribute__((packed)) pointer {
    u16 limit;
    u64 base;
};

static u32 width(void) { return cpuid(0x80000008, 0).eax & 0xff; }

/* A large page over this physical address. */
static volatile u64 *map_page(u64 at) {
    directory[0] = at | LARGE;
    pdpt[0] = (u64)directory | PTE;
    *(volatile u64 *)&boot_pml4[1] = (u64)pdpt | PTE;
    return (volatile u64 *)WINDOW;
}
static volatile u64 *map_high(u32 bit) { return map_page(BIT(bit)); }

#define POWER(bit)                                                                                                     \
    static void read_##bit(void) { (void)*map_high(bit); }                                                             \
    static void write_##bit(void) { *map_high(bit) = ~0ull; }
EACH_POWER(POWER)

/* The last there is. */
static volatile u64 *map_top(void) { return map_page(BIT(width()) - MIB(2)); }
static void read_top(void) { (void)*map_top(); }
static void write_top(void) { map_top()[MIB(2) / 8 - 1] = ~0ull; }

static void jump(u64 at) { __asm__ volatile("jmp *%0" ::"r"(at)); }
static void fetch_high(void) { jump((u64)map_high(32)); }
static void fetch_hole(void) { jump(HOLE); }
static void fetch_lapic(void) { jump(LAPIC_PAGE); }
static void fetch_ioapic(void) { jump(IOAPIC_PAGE); }
static void fetch_end(void) {
    u8 *last = (u8 *)memory_bytes() - 2;

    last[0] = last[1] = 0x90; /* runs out of its memory */
    jump((u64)last);
}

static void load_cr3(u64 value) { __asm__ volatile("movq %0, %%cr3" ::"r"(value) : "memory"); }
static void cr3_hole(void) { load_cr3(HOLE); }
static void cr3_lapic(void) { load_cr3(LAPIC_PAGE); }
static void cr3_high(void) { load_cr3(BIT(32)); }
static void cr3_reserved(void) { load_cr3(read_cr3() | BIT(51)); }
static void directory_hole(void) {
    *(volatile u64 *)&boot_pml4[1] = HOLE | PTE;
    (void)*(volatile u64 *)WINDOW;
}
static void directory_high(void) {
    pdpt[0] = BIT(33) | PTE;
    *(volatile u64 *)&boot_pml4[1] = (u64)pdpt | PTE;
    *(volatile u64 *)WINDOW = 0;
}

static void load_gdt(u64 base) {
    struct pointer p = {0xffff, base};
    __asm__ volatile("lgdt %0" ::"m"(p));
}
static void gdt_hole(void) {
    load_gdt(HOLE);
    __asm__ volatile("movw %w0, %%ds" ::"r"(0x18));
    __asm__ volatile("int3");
}
static void gdt_high(void) {
    load_gdt((u64)map_high(34));
    __asm__ volatile("movw %w0, %%es" ::"r"(0x18));
}
static void load_idt(u64 base, u16 limit) {
    struct pointer p = {limit, base};
    __asm__ volatile("lidt %0\n\tint3" ::"m"(p));
}
static void idt_hole(void) { load_idt(HOLE, 0xfff); }
static void idt_high(void) { load_idt((u64)map_high(35), 0xfff); }
static void triple_fault(void) { load_idt(0, 0); }
static void stack_hole(void) { __asm__ volatile("movq %0, %%rsp\n\tint3\n\tud2" ::"r"(HOLE + 4096) : "memory"); }
static void stack_high(void) { __asm__ volatile("movq %0, %%rsp\n\tpushq %%rax" ::"r"(map_high(33) + 512) : "memory"); }
/* The double fault's stack lies outside: after it nothing can be delivered. */
static void tss_hole(void) {
    u64 tss[2], base = HOLE;

    tss[0] = 103 | (base & 0xffffff) << 16 | (u64)0x89 << 40 | (base >> 24 & 0xff) << 56;
    tss[1] = base >> 32;
    this_cpu()->gdt[4] = tss[0];
    this_cpu()->gdt[5] = tss[1];
    __asm__ volatile("ltr %w0\n\tmovq %1, %%rsp\n\tint3" ::"r"(0x20), "r"(BIT(63)) : "memory");
}

/* Legal instructions on device memory that nobody needs there: not carried out. */
static void mmio_sse(void) {
    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("addps (%0), %%xmm0" ::"r"(HOLE));
}
static void mmio_fxsave(void) {
    write_cr4(read_cr4() | CR4_OSFXSR);
    __asm__ volatile("fxsave (%0)" ::"r"(LAPIC_PAGE));
}
static void mmio_cmpxchg16b(void) {
    __asm__ volatile("lock cmpxchg16b (%0)" ::"r"(HOLE), "a"(0), "b"(0), "c"(0), "d"(0) : "memory");
}
static void mmio_sgdt(void) { __asm__ volatile("sgdt (%0)" ::"r"(LAPIC_PAGE) : "memory"); }
static void mmio_lgdt(void) { __asm__ volatile("lgdt (%0)\n\tmovw %w1, %%es" ::"r"(HOLE), "r"(0x18) : "memory"); }
static void mmio_fld(void) { __asm__ volatile("fninit\n\tfldt (%0)" ::"r"(HOLE)); }
/* The first vCPU then starts at the reset vector, as a PC does. */
static void reset_init(void) {
    lapic_init_cpu(lapic_id());
    for (u32 i = 0; i < 1000000; i++) cpu_pause();
}

static void reset_cf9(void) { out8(0xcf9, 0x06); }
static void reset_cf9_full(void) { out8(0xcf9, 0x0e); }
static void reset_kbd(void) { out8(0x64, 0xfe); }
static void reset_92(void) { out8(0x92, 0x01); }
static void reset_acpi(void) {
    if (acpi.has_reset) out8(acpi.reset_port, acpi.reset_value);
}
static void reset_kbd_output(void) {
    out8(0x64, 0xd1);
    out8(0x60, 0x02);
}

const struct attempt deeds[] = {
    {"read-top", read_top},
    {"write-top", write_top},
    {"fetch-high", fetch_high},
    {"fetch-hole", fetch_hole},
    {"fetch-lapic", fetch_lapic},
    {"fetch-ioapic", fetch_ioapic},
    {"fetch-end", fetch_end},
    {"cr3-hole", cr3_hole},
    {"cr3-lapic", cr3_lapic},
    {"cr3-high", cr3_high},
    {"cr3-reserved", cr3_reserved},
    {"directory-hole", directory_hole},
    {"directory-high", directory_high},
    {"gdt-hole", gdt_hole},
    {"gdt-high", gdt_high},
    {"idt-hole", idt_hole},
    {"idt-high", idt_high},
    {"triple-fault", triple_fault},
    {"stack-hole", stack_hole},
    {"stack-high", stack_high},
    {"tss-hole", tss_hole},
    {"mmio-sse", mmio_sse},
    {"mmio-fxsave", mmio_fxsave},
    {"mmio-cmpxchg16b", mmio_cmpxchg16b},
    {"mmio-sgdt", mmio_sgdt},
    {"mmio-lgdt", mmio_lgdt},
    {"mmio-fld", mmio_fld},
    {"reset-cf9", reset_cf9},
    {"reset-cf9-full", reset_cf9_full},
    {"reset-kbd", reset_kbd},
    {"reset-kbd-output", reset_kbd_output},
    {"reset-92", reset_92},
    {"reset-acpi", reset_acpi},
    {"reset-init", reset_init},
#define LISTED(bit) {"read-power-" #bit, read_##bit}, {"write-power-" #bit, write_##bit},
    EACH_POWER(LISTED){0},
};

/* The list ends with the last power that this processor's addresses have. */
u32 deed_count(void) {
    u32 count = 0;

    while (deeds[count].run != read_32) count++;
    return count + 2 * (width() - FIRST_POWER);
}
