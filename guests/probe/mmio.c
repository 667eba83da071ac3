/* Instructions on device memory: each form on a register of the local APIC (the timer's initial count, 32 bits that
 * stay as written while the timer is masked) or of the IOAPIC (its index, which takes bytes), with results, flags and
 * faults. Reached through a page of its own, so that rights can be changed. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define WINDOW      0x60000000u /* linear; 2 MiB that lead to the local APIC */
#define WINDOW2     0x60200000u /* and to the IOAPIC */
#define UNMAPPED    0x60400000u
#define INITIAL     (WINDOW + 0x380)
#define INDEX       WINDOW2
#define FLAGS       0x8d5ul /* CF PF AF ZF SF OF */
#define PTE_PRESENT BIT(0)
#define PTE_WRITE   BIT(1)

extern u64 boot_directories[];

static u64 *entry_of(u64 la) { return &boot_directories[la >> 21]; }

static void set_entry(u64 la, u64 entry) {
    *(volatile u64 *)entry_of(la) = entry;
    invlpg(la);
}

static u64 saved[3];
static bool open_windows(void) {
    for (u32 i = 0; i < 3; i++) saved[i] = *entry_of(WINDOW + i * 0x200000ul);
    if (lapic_is_x2()) return false;
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    set_entry(WINDOW, 0xfee00000 | 0x9b);
    set_entry(WINDOW2, 0xfec00000 | 0x9b);
    set_entry(UNMAPPED, 0);
    return true;
}

static void close_windows(void) {
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    for (u32 i = 0; i < 3; i++) set_entry(WINDOW + i * 0x200000ul, saved[i]);
}

static volatile u32 *const initial = (volatile u32 *)INITIAL;
static volatile u8 *const byte_index = (volatile u8 *)INDEX;

/* Runs one instruction on the register with eax = a and what it held = m; adds what it left and the flags. */
#define FORM(text, m, a)                                                                                               \
    do {                                                                                                               \
        u64 rax = (a), flags;                                                                                          \
        *initial = (m);                                                                                                \
        __asm__ volatile("pushq $0x2\n\tpopfq\n\t" text "\n\tpushfq\n\tpopq %1"                                        \
                         : "+a"(rax), "=&r"(flags)                                                                     \
                         : "b"((u64)INITIAL), "c"(0x11223344ul), "d"(0x3ul)                                            \
                         : "memory", "cc");                                                                            \
        value("%x/%lx/%lx", *initial, rax, flags &FLAGS);                                                              \
    } while (0)

static bool mov_forms(void) {
    if (!open_windows()) return true;
    FORM("movl %%eax, (%%rbx)", 0, 0x12345678);
    FORM("movl (%%rbx), %%eax", 0x89abcdef, ~0ul);
    FORM("movl $0x55aa55aa, (%%rbx)", 0, 0);
    FORM("movslq (%%rbx), %%rax", 0x89abcdef, 0);
    FORM("movl -24(%%rbx,%%rdx,8), %%eax\n\tmovl %%ecx, -24(%%rbx,%%rdx,8)", 1, 0);
    FORM("addr32 movl %%ecx, (%%ebx)", 0, 0);
    FORM("movl %%eax, 0x60000380", 0, 0x77777777);
    FORM("movabsl 0x60000380, %%eax", 0x1234, ~0ul);
    FORM("movabsl %%eax, 0x60000380", 0, 0x4321);
    FORM(".set window_initial, 0x60000380\n\tmovl %%ecx, window_initial(%%rip)", 0, 0);
    FORM("xchgl %%eax, (%%rbx)", 0x1111, 0x2222);
    FORM("lock xaddl %%eax, (%%rbx)", 0x10, 0x20);
    FORM("lock cmpxchgl %%ecx, (%%rbx)", 0x99, 0x99);
    FORM("lock cmpxchgl %%ecx, (%%rbx)", 0x98, 0x99);
    close_windows();
    return true;
}

static bool arithmetic(void) {
    if (!open_windows()) return true;
    FORM("addl %%eax, (%%rbx)", 0x7fffffff, 1);
    FORM("addl (%%rbx), %%eax", 0xffffffff, 1);
    FORM("adcl $5, (%%rbx)", 1, 0);
    FORM("subl %%ecx, (%%rbx)", 1, 0);
    FORM("sbbl (%%rbx), %%eax", 2, 1);
    FORM("andl $0xf0f0, (%%rbx)", 0xffff0000 | 0x1234, 0);
    FORM("orl %%eax, (%%rbx)", 0x80000000, 1);
    FORM("xorl %%eax, (%%rbx)", 0x5, 5);
    FORM("testl %%eax, (%%rbx)", 0x80000000, 0x80000000);
    FORM("testl $3, (%%rbx)", 4, 0);
    FORM("cmpl %%eax, (%%rbx)", 1, 2);
    FORM("cmpl (%%rbx), %%eax", 1, 2);
    FORM("cmpl $-1, (%%rbx)", 0xffffffff, 2);
    FORM("incl (%%rbx)", 0x7fffffff, 0);
    FORM("decl (%%rbx)", 0, 0);
    FORM("notl (%%rbx)", 0x0f, 0);
    FORM("negl (%%rbx)", 1, 0);
    close_windows();
    return true;
}

static bool bits(void) {
    if (!open_windows()) return true;
    FORM("btl $3, (%%rbx)", 8, 0);
    FORM("btsl $31, (%%rbx)", 0, 0);
    FORM("btrl %%eax, (%%rbx)", 0xffffffff, 4);
    FORM("btcl $33, (%%rbx)", 0, 0);
    FORM("btsl %%eax, -128(%%rbx)", 1, 1024 + 5); /* a bit offset beyond the operand */
    FORM("btsl %%eax, 16(%%rbx)", 1, 0xffffff82); /* and a negative one */
    FORM("lock btrl $0, (%%rbx)", 3, 0);
    close_windows();
    return true;
}

/* The IOAPIC's index takes bytes. */
#define BYTE(text, m, a)                                                                                               \
    do {                                                                                                               \
        u64 rax = (a), flags;                                                                                          \
        *byte_index = (m);                                                                                             \
        __asm__ volatile("pushq $0x2\n\tpopfq\n\t" text "\n\tpushfq\n\tpopq %1"                                        \
                         : "+a"(rax), "=&r"(flags)                                                                     \
                         : "b"((u64)INDEX), "c"(0x11221344ul)                                                          \
                         : "memory", "cc");                                                                            \
        value("%x/%lx/%lx", *(volatile u32 *)INDEX & 0xff, rax, flags & FLAGS);                                        \
    } while (0)

static bool narrow(void) {
    if (!open_windows()) return true;
    BYTE("movb %%al, (%%rbx)", 0, 0x15);
    BYTE("movb %%ch, (%%rbx)", 0, 0);
    BYTE("movb $0x17, (%%rbx)", 0, 0);
    BYTE("movb (%%rbx), %%al", 0x21, ~0ul);
    BYTE("movb (%%rbx), %%ah", 0x21, 0);
    BYTE("movzbl (%%rbx), %%eax", 0x21, ~0ul);
    BYTE("movsbl (%%rbx), %%eax", 0x21, 0);
    BYTE("movzbw (%%rbx), %%ax", 0x22, ~0ul);
    BYTE("movsbq (%%rbx), %%rax", 0x23, 0);
    BYTE("xchgb %%al, (%%rbx)", 0x12, 0x13);
    BYTE("orb $0x10, (%%rbx)", 0x01, 0);
    BYTE("andb $0x31, (%%rbx)", 0x13, 0);
    BYTE("testb $0x80, (%%rbx)", 0x13, 0);
    BYTE("cmpb %%al, (%%rbx)", 0x13, 0x14);
    BYTE("incb (%%rbx)", 0x13, 0);
    *byte_index = 0;
    close_windows();
    return true;
}

static u32 source[4] = {0xaaaa0001, 0xbbbb0002, 0xcccc0003, 0xdddd0004}, target[4];

static bool strings(void) {
    const u32 *from = source;
    u64 count = 1;
    u64 to = INITIAL, eax = 0;

    if (!open_windows()) return true;
    __asm__ volatile("cld\n\trep movsl" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    value("%x %ld %lx %lu", *initial, (s64)((u64)from - (u64)source), to - INITIAL, count);
    to = (u64)target;
    from = (const u32 *)INITIAL;
    count = 1;
    __asm__ volatile("std\n\trep movsl\n\tcld" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    value("%x %ld %ld", target[0], (s64)((u64)from - INITIAL), (s64)(to - (u64)target));
    to = INITIAL;
    __asm__ volatile("stosl" : "+D"(to) : "a"(0x1357) : "memory");
    value("%x %lx", *initial, to - INITIAL);
    to = INITIAL;
    count = 1;
    __asm__ volatile("std\n\trep stosl\n\tcld" : "+D"(to), "+c"(count) : "a"(0x1357) : "memory");
    value("%x %ld %lu", *initial, (s64)(to - INITIAL), count);
    from = (const u32 *)INITIAL;
    __asm__ volatile("lodsl" : "+S"(from), "+a"(eax)::"memory");
    value("%lx", eax);
    from = (const u32 *)INITIAL;
    count = 0;
    __asm__ volatile("rep lodsl" : "+S"(from), "+a"(eax), "+c"(count)::"memory");
    value("%lx %lu", (u64)from - INITIAL, count);
    to = INITIAL;
    count = 3;
    __asm__ volatile("repne scasl\n\tpushfq\n\tpopq %2" : "+D"(to), "+c"(count), "=r"(eax) : "a"(0x1357) : "memory");
    value("%lx %lu %lx", to - INITIAL, count, eax & FLAGS);
    close_windows();
    return true;
}

static void push_it(void *argument) { __asm__ volatile("pushq (%0)\n\taddq $8, %%rsp" ::"r"(argument) : "memory"); }
static void add_one(void *argument) { __asm__ volatile("addl $1, (%0)" ::"r"(argument) : "memory", "cc"); }
static void move_there(void *argument) { __asm__ volatile("movsl" : : "S"((u64)INITIAL), "D"(argument) : "memory"); }
static void input_there(void *argument) { __asm__ volatile("insb" : : "d"(0x71), "D"(argument) : "memory"); }
static void read_there(void *argument) {
    u32 v;
    __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(argument) : "memory");
}

/* The fault comes, and nothing has happened before it. */
static bool faults(void) {
    struct fault f;

    if (!open_windows()) return true;
    write_cr0(read_cr0() | CR0_WP);
    *initial = 0x77;
    f = value_of_try(move_there, (void *)(u64)(UNMAPPED + 0x10));
    value("%lx", f.cr2);
    f = value_of_try(input_there, (void *)(u64)(UNMAPPED + 0x20));
    value("%lx", f.cr2);
    set_entry(WINDOW, 0xfee00000 | 0x99); /* read-only */
    f = value_of_try(add_one, (void *)(u64)INITIAL);
    value("%lx %x", f.cr2, *initial);
    value_of_try(read_there, (void *)(u64)INITIAL);
    write_cr0(read_cr0() & ~CR0_WP);
    f = value_of_try(add_one, (void *)(u64)INITIAL);
    value("%x", *initial);
    close_windows();
    f = value_of_try(push_it, (void *)0x8000000000000000);
    return true;
}

/* String input to a page whose entry has an address bit that the processor has not. SDM Vol 3A, Page-Fault Exceptions.
 */
static bool reserved_bit(void) {
    struct fault f;

    if ((cpuid(0x80000008, 0).eax & 0xff) > 51 || !open_windows()) return true;
    set_entry(UNMAPPED, ((u64)source & ~0x1ffffful) | 0x83 | BIT(51));
    f = fault_try(input_there, (void *)(u64)UNMAPPED);
    value("%d %lx %lx", f.raised, f.error | 1, f.cr2); /* QEMU leaves out P */
    close_windows();
    return true;
}

/* Code on two pages: an instruction that crosses from one to the other works on a device; and one that goes on where
 * nothing is mapped faults there. */
static u8 page_pair[3 * 4096] __attribute__((aligned(4096)));
static void call_it(void *argument) { ((void (*)(void))argument)(); }

static bool crossing_fetch(void) {
    /* movl $0x2468ace0, 0x60000380; ret */
    static const u8 code[] = {0xc7, 0x04, 0x25, 0x80, 0x03, 0x00, 0x60, 0xe0, 0xac, 0x68, 0x24, 0xc3};
    static const u8 input[] = {0x66, 0x0f, 0xa2, 0xc3}; /* cpuid */
    u8 *at = page_pair + 4096 - 5;
    u64 alias = UNMAPPED + ((u64)page_pair & 0x1fffff);
    struct fault f;

    if (!open_windows()) return true;
    for (u32 i = 0; i < sizeof(code); i++) at[i] = code[i];
    call_it(at);
    value("%x", *initial);
    /* The same bytes at the end of what is mapped: the window's last page is followed by nothing. */
    set_entry(UNMAPPED, ((u64)page_pair & ~0x1ffffful) | 0x83);
    if (((u64)page_pair & 0x1fffff) + sizeof(page_pair) < 0x200000) {
        u8 *last = (u8 *)(u64)(UNMAPPED + 0x200000 - 5), *real = (u8 *)(((u64)page_pair & ~0x1ffffful) + 0x200000 - 5);
        u64 next = *entry_of(UNMAPPED + 0x200000);
        u8 old[5];

        for (u32 i = 0; i < 5; i++) old[i] = real[i], real[i] = code[i];
        set_entry(UNMAPPED + 0x200000, 0);
        f = value_of_try(call_it, last);
        value("%lx %lx", f.cr2, f.rip);
        set_entry(UNMAPPED + 0x200000, next);
        for (u32 i = 0; i < 5; i++) real[i] = old[i];
    }
    (void)input;
    (void)alias;
    close_windows();
    return true;
}

/* An operand of which two bytes lie in memory and two on a device: each gets its own. Where the second page faults,
 * nothing has been done to the first. */
#define ACROSS (WINDOW2 - 2)
static void store_there(void *argument) { *(volatile u32 *)argument = 0x55667788; }

static bool crossing_data(void) {
    volatile u32 *across = (volatile u32 *)(u64)ACROSS;
    u64 memory = (u64)page_pair & ~0x1ffffful;
    volatile u16 *first = (volatile u16 *)memory, *last = (volatile u16 *)(memory + 0x1ffffe);
    u16 old_first = *first, old_last = *last;
    struct fault f;

    if (!open_windows()) return true;
    set_entry(WINDOW, memory | 0x83);
    *across = 0x120304; /* of the IOAPIC, the index takes a byte */
    value("%x %x %x", *last, *byte_index, *across);
    __asm__ volatile("addl %1, %0" : "+m"(*across) : "r"(0x30002) : "cc");
    value("%x %x", *last, *byte_index);
    write_cr0(read_cr0() | CR0_WP);
    set_entry(WINDOW2, 0xfec00000 | 0x99); /* read-only */
    f = value_of_try(store_there, (void *)(u64)ACROSS);
    value("%lx", f.cr2);
    f = value_of_try(add_one, (void *)(u64)ACROSS);
    value("%lx %x %x", f.cr2, *last, *byte_index);
    write_cr0(read_cr0() & ~CR0_WP);
    set_entry(WINDOW2, 0);
    f = value_of_try(add_one, (void *)(u64)ACROSS);
    value("%lx %x", f.cr2, *last);
    *last = old_last;
    /* The other way round: nobody's address, then memory, or nothing. */
    set_entry(WINDOW, 0xfec00000 | 0x9b);
    f = value_of_try(read_there, (void *)(u64)ACROSS);
    value("%lx", f.cr2);
    f = value_of_try(store_there, (void *)(u64)ACROSS);
    value("%lx", f.cr2);
    set_entry(WINDOW2, memory | 0x83);
    *across = 0x9abc0000;
    value("%x %x", *first, *across >> 16);
    *first = old_first;
    close_windows();
    return true;
}

/* Moves that are not plain MOV. */
static void load_es(void *argument) { __asm__ volatile("movw (%0), %%es" ::"r"(argument) : "memory"); }
static u32 read_es(void) {
    u32 es;
    __asm__ volatile("movl %%es, %0" : "=r"(es));
    return es;
}

static bool other_moves(void) {
    u32 es = read_es(), ss;

    if (!open_windows()) return true;
    write_cr4(read_cr4() | CR4_OSFXSR);
    FORM("movnti %%eax, (%%rbx)", 0, 0x12345678);
    if (cpuid(1, 0).ecx & BIT(22)) {
        FORM("movbe %%eax, (%%rbx)", 0, 0x12345678);
        FORM("movbe (%%rbx), %%eax", 0x89abcdef, ~0ul);
    }
    FORM("movd %%eax, %%xmm9\n\tmovss %%xmm9, (%%rbx)", 0, 0x87654321);
    FORM("movd (%%rbx), %%xmm1\n\tmovq %%xmm1, %%rax", 0x13572468, ~0ul);
    __asm__ volatile("movl %%ss, %0" : "=r"(ss));
    BYTE("movw %%ss, (%%rbx)", 0, 0);
    *byte_index = 0;
    value_of_try(load_es, (void *)(u64)INDEX);
    value("%x", read_es());
    *byte_index = (u8)ss;
    value_of_try(load_es, (void *)(u64)INDEX);
    value("%d", read_es() == ss);
    *byte_index = 0xf0; /* beyond the table */
    value_of_try(load_es, (void *)(u64)INDEX);
    value("%d", read_es() == ss);
    __asm__ volatile("movl %0, %%es" ::"r"(es));
    *byte_index = 0;
    close_windows();
    return true;
}

/* Sixteen and thirty-two bytes where nobody answers: writes are lost, reads are ones; half of it in memory. */
static u64 pattern[4] __attribute__((aligned(32))), left[4] __attribute__((aligned(32)));
static void aligned_load(void *argument) { __asm__ volatile("movaps (%0), %%xmm0" ::"r"(argument) : "memory"); }

/* text: what is done to the register, and with (%rbx). */
#define WIDE(move, reg, where, text)                                                                                   \
    do {                                                                                                               \
        __asm__ volatile(move " (%0), " reg "\n\t" text "\n\t" move " " reg ", (%1)" ::"r"(pattern), "r"(left),        \
                         "b"(where)                                                                                    \
                         : "memory");                                                                                  \
        value("%x/%x/%x", (u16)left[0], (u16)left[1], (u16)left[3]);                                                   \
    } while (0)

static bool vectors(void) {
    u64 memory = (u64)page_pair & ~0x1ffffful, nobody = WINDOW2, across = WINDOW2 - 8;
    volatile u64 *last = (volatile u64 *)(memory + 0x1ffff8);
    u64 old = *last;

    if (!open_windows()) return true;
    write_cr4(read_cr4() | CR4_OSFXSR);
    for (u32 i = 0; i < 4; i++) pattern[i] = 0x1111111111111111 * (i + 1), left[i] = 0;
    set_entry(WINDOW, memory | 0x83);
    set_entry(WINDOW2, 0xd0000000 | 0x9b);
    WIDE("movups", "%%xmm3", nobody, "movaps %%xmm3, (%%rbx)");
    WIDE("movups", "%%xmm14", nobody, "movdqa (%%rbx), %%xmm14");
    WIDE("movups", "%%xmm3", nobody, "movsd (%%rbx), %%xmm3");
    WIDE("movups", "%%xmm3", across, "movdqu %%xmm3, (%%rbx)");
    value("%lx", *last);
    WIDE("movups", "%%xmm3", across, "movups (%%rbx), %%xmm3");
    value_of_try(aligned_load, (void *)across);
    if ((cpuid(1, 0).ecx & BIT(26)) && (cpuid(1, 0).ecx & BIT(28))) {
        write_cr4(read_cr4() | CR4_OSXSAVE);
        __asm__ volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
        WIDE("vmovups", "%%ymm5", nobody, "vmovaps %%ymm5, (%%rbx)");
        WIDE("vmovups", "%%ymm5", nobody, "vmovdqa (%%rbx), %%ymm5");
        WIDE("vmovups", "%%ymm5", nobody, "vmovdqu (%%rbx), %%xmm5"); /* clears the upper half */
        WIDE("vmovups", "%%ymm5", nobody, "movups (%%rbx), %%xmm5");  /* does not */
        WIDE("vmovups", "%%ymm13", across, "vmovups (%%rbx), %%ymm13");
    }
    close_windows();
    *last = old;
    return true;
}

static bool long_prefixes(void) {
    if (!open_windows()) return true;
    FORM(".byte 0x2e, 0x3e, 0x26, 0x36\n\tmovl %%ecx, (%%rbx)", 0, 0);
    FORM(".byte 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e\n\tmovl $0x1, (%%rbx)", 0, 0); /* 15 bytes */
    FORM(".byte 0xf3\n\tmovl %%ecx, (%%rbx)", 0, 0);
    close_windows();
    return true;
}
static void too_long(void *argument) {
    (void)argument;
    __asm__ volatile(
        ".byte 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x0f, 0xa2, 0x90, 0x90, 0x90\n\t"
        ".byte 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e\n\t"
        "movl $1, %0" ::"m"(*initial)
        : "rax", "rbx", "rcx", "rdx", "memory");
}
static bool too_long_check(void) {
    if (!open_windows()) return true;
    *initial = 3;
    value_of_try(too_long, NULL);
    value("%x", *initial);
    close_windows();
    return true;
}

const struct check mmio_checks[] = {
    {"mmio-mov", mov_forms},
    {"mmio-arithmetic", arithmetic},
    {"mmio-bits", bits},
    {"mmio-bytes", narrow},
    {"mmio-strings", strings},
    {"mmio-faults", faults},
    {"string-reserved-bit", reserved_bit},
    {"mmio-fetch", crossing_fetch},
    {"mmio-crossing", crossing_data},
    {"mmio-moves", other_moves},
    {"mmio-vectors", vectors},
    {"mmio-prefixes", long_prefixes},
    {"mmio-too-long", too_long_check},
    {0},
};
