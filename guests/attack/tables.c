/* Descriptor tables, gates, task-state segments and page tables that are not what they should be,
 * as far as the program survives it. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/attack/attack.h"

#define ENTRIES     12
#define GATE_BAD    0x30 /* two entries: call gate to a non-canonical address */
#define GATE_DATA   0x40 /* call gate to a data segment */
#define TSS_BUSY    0x50 /* ours is busy: LTR refuses it */
#define NOT_PRESENT 0x58
#define WINDOW      BIT(39) /* the second PML4 entry: ours to map as we like */
#define PTE         3u      /* present, writable */

extern u64 boot_pml4[];

struct __attribute__((packed)) pointer {
    u16 limit;
    u64 base;
};
static u64 gdt[ENTRIES];

static void gate(u32 selector, u64 target, u32 code) {
    gdt[selector / 8] = (target & 0xffff) | (u64)code << 16 | (u64)0x8c00 << 32 | (target >> 16 & 0xffff) << 48;
    gdt[selector / 8 + 1] = target >> 32;
}

static void far_call(void *argument) {
    struct __attribute__((packed)) {
        u32 offset;
        u16 selector;
    } to = {0, (u16)(u64)argument};
    __asm__ volatile("lcall *%0" ::"m"(to) : "memory");
}
static void far_jump(void *argument) {
    struct __attribute__((packed)) {
        u32 offset;
        u16 selector;
    } to = {0, (u16)(u64)argument};
    __asm__ volatile("ljmp *%0" ::"m"(to) : "memory");
}
static void load_tr(void *argument) { __asm__ volatile("ltr %w0" ::"r"(argument) : "memory"); }
static void load_ldt(void *argument) { __asm__ volatile("lldt %w0" ::"r"(argument) : "memory"); }
static void load_es(void *argument) { __asm__ volatile("movw %w0, %%es" ::"r"(argument) : "memory"); }
static void software_interrupt(void *argument) {
    (void)argument;
    __asm__ volatile("int $0x81");
}

/* In 64-bit mode there are no task switches, and a gate leads to 64-bit code only. */
static void gates(void) {
    const u64 wrong = FAULT(VEC_GP) | FAULT(VEC_NP) | FAULT(VEC_TS) | FAULT(VEC_SS);
    struct pointer old, mine = {sizeof(gdt) - 1, (u64)gdt};

    __asm__ volatile("sgdt %0" : "=m"(old));
    memcpy(gdt, (const void *)old.base, 6 * 8);
    gate(GATE_BAD, 0x8000000000000000, 0x10);
    gate(GATE_DATA, 0x100000, 0x18);
    gdt[TSS_BUSY / 8] = gdt[4];
    gdt[NOT_PRESENT / 8] = 0x00cf13000000ffff;
    __asm__ volatile("lgdt %0" ::"m"(mine));
    for (u64 selector = GATE_BAD; selector <= 0x60; selector += 8) {
        must_fault(far_call, (void *)selector, wrong, "far call", selector);
        must_fault(far_jump, (void *)selector, wrong, "far jump", selector);
        must_fault(load_tr, (void *)selector, wrong, "ltr", selector);
        must_fault(load_ldt, (void *)selector, wrong, "lldt", selector);
        must_fault(load_es, (void *)selector, wrong, "es", selector);
    }
    must_fault(far_jump, (void *)0x20, wrong, "jump to the tss", 0x20);
    must_fault(load_es, (void *)0xfff8, wrong, "beyond the limit", 0xfff8);
    __asm__ volatile("lgdt %0" ::"m"(old));
    interrupt_gate_present(0x81, false);
    must_fault(software_interrupt, NULL, FAULT(VEC_NP), "absent gate", 0x81);
    interrupt_gate_present(0x81, true);
}

/* --- paging ----------------------------------------------------------------------------------- */

static u64 pdpt[512], directory[512], table[512] __attribute__((aligned(4096)));

static void open_window(void) {
    pdpt[0] = (u64)directory | PTE;
    directory[0] = (u64)table | PTE;
    *(volatile u64 *)&boot_pml4[1] = (u64)pdpt | PTE;
}
static volatile u64 *map(u32 page, u64 entry) {
    *(volatile u64 *)&table[page] = entry;
    invlpg(WINDOW + page * PAGE_4K);
    return (volatile u64 *)(WINDOW + page * PAGE_4K);
}
static void touch(void *argument) { (void)*(volatile u64 *)argument; }

/* Aliases give what the address itself gives, and a table that maps itself is only memory. */
static void page_tables(void) {
    const u64 expected = FAULT(VEC_PF);
    volatile u64 *at;

    open_window();
    at = map(0, HOLE | PTE);
    check(*at == ~0ull, "alias of the hole reads 0x%lx", *at);
    at = map(1, LAPIC_PAGE | PTE);
    check(lapic_is_x2() || *(volatile u32 *)((u64)at + LAPIC_VERSION) == lapic_read(LAPIC_VERSION),
          "alias of the local apic");
    at = map(2, (u64)table | PTE);
    at[3] = memory_bytes() | PTE; /* through itself */
    invlpg(WINDOW + 3 * PAGE_4K);
    check(*(volatile u64 *)(WINDOW + 3 * PAGE_4K) == ~0ull, "alias of the end");
    for (u32 bit = 52; bit > 44; bit--) { /* reserved, or more than the processor has */
        u32 width = cpuid(0x80000008, 0).eax & 0xff;
        if (bit - 1 >= width) must_fault(touch, (void *)map(4, BIT(bit - 1) | PTE), expected, "address bit", bit - 1);
    }
    for (u32 i = 0; i < 512; i++) /* each entry in turn points to the table itself */
        check((*map(i, (u64)table | PTE) & ~0x60ull) == ((u64)table | PTE), "entry %u", i);
    *(volatile u64 *)&pdpt[0] = (u64)pdpt | PTE; /* a cycle through three levels */
    write_cr0(read_cr0());
    __asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3" ::: "rax", "memory");
    check((*(volatile u64 *)WINDOW & ~0x60ull) == ((u64)pdpt | PTE), "a cycle reads 0x%lx", *(volatile u64 *)WINDOW);
    boot_pml4[1] = 0;
    __asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3" ::: "rax", "memory");
    must_fault(touch, (void *)WINDOW, expected, "closed window", WINDOW);
}

const struct attempt table_attempts[] = {
    {"descriptor-tables", gates},
    {"page-tables", page_tables},
    {0},
};
