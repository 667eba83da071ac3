/* Five levels of page tables, and linear addresses of 57 bits: what the processor does with them, and what exits with
 * code and operands there. SDM Vol 3A, 4-Level Paging and 5-Level Paging; Control Registers: LA57. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define FAR           BIT(48)             /* PML5E 1: all that is mapped, again */
#define HIGH          0xff00000000000000u /* PML5E 256: the same, in the upper half */
#define BAD_ENTRY     BIT(49)             /* PML5E 2 has bit 7 set, which is reserved */
#define ABSENT        BIT(47)             /* PML5E 0, PML4E 256; not canonical with four levels */
#define NOT_CANONICAL BIT(56)
#define IOAPIC        0xfec00000u /* its first register selects, and is read as written */
#define PIC_MASK      0x21

/* legacy.S, five.S */
void legacy_init(void);
void legacy_run(void (*function)(void));
void legacy_five_levels(void);
void legacy_four_levels(void);
extern u64 boot_pml4[];
u64 five_level_root[512] __attribute__((aligned(4096)));

static bool has_la57(void) { return cpuid(7, 0).ecx & BIT(16); }

static void set_cr4(void *argument) { write_cr4((u64)argument); }
static void read_at(void *argument) { (void)*(volatile u32 *)argument; }
static void write_at(void *argument) { *(volatile u32 *)argument = 0; }
static void call_at(void *argument) { ((void (*)(void))argument)(); }
static void copy(u64 to, u64 from) { __asm__ volatile("movsl" : "+D"(to), "+S"(from)::"memory"); }
static void copy_ioapic(void *to) { copy((u64)to, IOAPIC); }
static void put_string(void *from) { __asm__ volatile("outsb" : "+S"(from) : "d"(PIC_MASK) : "memory"); }
static void get_string(void *to) { __asm__ volatile("insb" : "+D"(to) : "d"(PIC_MASK) : "memory"); }

/* Runs it with five levels, and comes back to four. */
static bool with_five(bool (*run)(void)) {
    const u64 flags = BIT(0) | BIT(1);
    bool ok;

    if (!has_la57()) {
        value("none");
        return true;
    }
    five_level_root[0] = five_level_root[1] = five_level_root[256] = (u64)boot_pml4 | flags;
    five_level_root[2] = (u64)boot_pml4 | flags | BIT(7);
    legacy_init();
    legacy_run(legacy_five_levels);
    ok = (read_cr4() & CR4_LA57) && run();
    legacy_run(legacy_four_levels);
    return ok && !(read_cr4() & CR4_LA57);
}

/* Memory is where the fifth level says, and the number of levels stays while long mode is on. */
static bool far_memory(void) {
    static u32 word;

    *(volatile u32 *)((u64)&word + FAR) = 57;
    value("%u", *(volatile u32 *)&word);
    *(volatile u32 *)&word = 58;
    value("%u", *(volatile u32 *)((u64)&word + HIGH));
    value_of_try(set_cr4, (void *)(read_cr4() & ~CR4_LA57));
    return true;
}

static bool mode_la57(void) {
    u64 cr4 = read_cr4();
    bool ok;

    value("%u bits", cpuid(0x80000008, 0).eax >> 8 & 0xff);
    if (has_la57() || !bare_qemu()) value_of_try(set_cr4, (void *)(cr4 | CR4_LA57)); /* in long mode */
    value_of_try(read_at, (void *)FAR);
    ok = with_five(far_memory);
    value_of_try(read_at, (void *)FAR);
    return ok && read_cr4() == cr4;
}

/* Runs where its caller has added to its address; its operands are as far away. */
static void __attribute__((noinline)) exits(u64 away) {
    static u32 word;
    static u8 byte;
    u8 mask = in8(PIC_MASK);
    u64 cr8, at;

    value("%x", cpuid(0, 0).ebx);
    __asm__ volatile("movq %1, %%cr8\n\tmovq %%cr8, %0" : "=r"(cr8) : "r"(5ul) : "memory");
    __asm__ volatile("movq %0, %%cr8" ::"r"(0ul) : "memory");
    value("%lx", cr8);
    mmio_write32(IOAPIC + away, 0x10);
    value("%x", mmio_read32(IOAPIC + away));
    at = IOAPIC + away;
    __asm__ volatile("orl $1, (%0)" ::"r"(at) : "memory");
    copy((u64)&word + away, IOAPIC + away);
    value("%x", *(volatile u32 *)&word);
    wrmsr(MSR_FS_BASE, IOAPIC + away);
    __asm__ volatile("movl %%fs:(%1), %k0" : "=r"(at) : "r"(0ul));
    wrmsr(MSR_FS_BASE, 0);
    value("%lx", at);
    *(volatile u8 *)&byte = 0xfa;
    put_string(&byte + away);
    *(volatile u8 *)&byte = 0;
    get_string(&byte + away);
    value("%x", *(volatile u8 *)&byte);
    out8(PIC_MASK, mask);
}

static bool far_exits(void) {
    const u64 places[] = {0, FAR, HIGH};

    for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
        u64 to = (u64)exits + places[i];
        ((void (*)(u64))to)(places[i]);
    }
    return true;
}
static bool la57_exits(void) { return with_five(far_exits); }

static void fault_of(void (*run)(void *), u64 at) {
    struct fault f = value_of_try(run, (void *)at);

    if (f.vector == VEC_PF && f.cr2 != at) value("cr2 %lx", f.cr2);
}

static bool far_faults(void) {
    void (*const tries[])(void *) = {read_at, write_at, call_at, copy_ioapic, put_string, get_string};
    struct fault f = fault_try(read_at, (void *)BAD_ENTRY);

    value("%d %u %lx", f.raised, f.vector, f.error | 1); /* QEMU leaves P out */
    for (u32 i = 0; i < ARRAY_SIZE(tries); i++) {
        fault_of(tries[i], NOT_CANONICAL);
        fault_of(tries[i], ~NOT_CANONICAL);
        fault_of(tries[i], ABSENT);
    }
    return true;
}
static bool la57_faults(void) { return with_five(far_faults); }

const struct check level_checks[] = {
    {"mode-la57", mode_la57},
    {"la57-exits", la57_exits},
    {"la57-faults", la57_faults},
    {0},
};
