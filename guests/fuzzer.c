/* Runs random instructions that exit: MSRs, ports, device registers, CPUID, control and debug registers, hypercalls;
 * and now and then one of random bytes. The same seed gives the same instructions. A run tells its seed, and each
 * thousandth instruction; it ends with a reset, or by itself before that. `restart` then starts it with the next seed,
 * which follows from the wall clock unless `exact` is given: then the run ends with a power-off.
 *
 * Options: seed= (1), run= instructions of a run (20000), exact, lenient: the processor is QEMU's (guests/attack). */
#include "core/base/bits.h"
#include "guests/lib/guest.h"

#define CODE_BYTES   4  /* of a template */
#define RANDOM_BYTES 15 /* the longest instruction */
#define PROGRESS     1000u

/* rax, rcx, rdx, rdi are random or chosen by `pick`; the code may change those and rsi only. */
enum pick { NUMBER, MSR, PORT, PORT_STRING, DEVICE, DEVICE_STRING, TO_CR0, TO_CR3, TO_CR4, TO_DR, RANDOM };
static const struct template {
    enum pick pick;
    u8 code[CODE_BYTES]; /* filled up with NOP */
}
templates[] = {
    {NUMBER, {0x0f, 0xa2, 0x90, 0x90}}, /* cpuid; rbx is saved */
    {MSR, {0x0f, 0x32, 0x90, 0x90}},    /* rdmsr */
    {MSR, {0x0f, 0x30, 0x90, 0x90}},    /* wrmsr */
    {PORT, {0xec, 0x90, 0x90, 0x90}},   /* in al, dx */
    {PORT, {0x66, 0xed, 0x90, 0x90}},   /* in ax, dx */
    {PORT, {0xed, 0x90, 0x90, 0x90}},   /* in eax, dx */
    {PORT, {0xee, 0x90, 0x90, 0x90}},   /* out dx, al */
    {PORT, {0x66, 0xef, 0x90, 0x90}},   /* out dx, ax */
    {PORT, {0xef, 0x90, 0x90, 0x90}},   /* out dx, eax */
    {DEVICE, {0x8b, 0x07, 0x90, 0x90}}, /* mov eax, [rdi] */
    {DEVICE, {0x89, 0x07, 0x90, 0x90}}, /* mov [rdi], eax */
    {DEVICE, {0x89, 0x07, 0x90, 0x90}},
    {DEVICE, {0x48, 0x89, 0x07, 0x90}},        /* mov [rdi], rax */
    {DEVICE, {0x48, 0x8b, 0x07, 0x90}},        /* mov rax, [rdi] */
    {DEVICE, {0x88, 0x07, 0x90, 0x90}},        /* mov [rdi], al */
    {DEVICE, {0x0f, 0xb7, 0x07, 0x90}},        /* movzx eax, word [rdi] */
    {DEVICE, {0x01, 0x07, 0x90, 0x90}},        /* add [rdi], eax */
    {DEVICE, {0x87, 0x07, 0x90, 0x90}},        /* xchg [rdi], eax */
    {DEVICE, {0xf0, 0x0f, 0xb1, 0x0f}},        /* lock cmpxchg [rdi], ecx */
    {DEVICE, {0xf0, 0x0f, 0xc1, 0x07}},        /* lock xadd [rdi], eax */
    {DEVICE, {0x0f, 0xbb, 0x07, 0x90}},        /* btc [rdi], eax: bit string, reaches far */
    {DEVICE, {0xf7, 0x17, 0x90, 0x90}},        /* not dword [rdi] */
    {DEVICE_STRING, {0xf3, 0xaa, 0x90, 0x90}}, /* rep stosb */
    {DEVICE_STRING, {0xf3, 0xab, 0x90, 0x90}}, /* rep stosd */
    {DEVICE_STRING, {0xf3, 0xaf, 0x90, 0x90}}, /* rep scasd */
    {NUMBER, {0x0f, 0x01, 0xc1, 0x90}},        /* vmcall */
    {NUMBER, {0x0f, 0x01, 0xd9, 0x90}},        /* vmmcall */
    {NUMBER, {0x0f, 0x09, 0x90, 0x90}},        /* wbinvd */
    {NUMBER, {0xf3, 0x90, 0x90, 0x90}},        /* pause */
    {NUMBER, {0x0f, 0x33, 0x90, 0x90}},        /* rdpmc */
    {NUMBER, {0x0f, 0x01, 0xd1, 0x90}},        /* xsetbv */
    {NUMBER, {0x44, 0x0f, 0x22, 0xc0}},        /* mov cr8, rax */
    {NUMBER, {0x44, 0x0f, 0x20, 0xc0}},        /* mov rax, cr8 */
    {NUMBER, {0x0f, 0x01, 0xf0, 0x90}},        /* lmsw ax, with PE set or not: PE stays */
    {NUMBER, {0x0f, 0x06, 0x90, 0x90}},        /* clts */
    {NUMBER, {0x0f, 0x0b, 0x90, 0x90}},        /* ud2 */
    {TO_CR0, {0x0f, 0x22, 0xc0, 0x90}},        /* mov cr0, rax */
    {TO_CR3, {0x0f, 0x22, 0xd8, 0x90}},        /* mov cr3, rax */
    {TO_CR4, {0x0f, 0x22, 0xe0, 0x90}},        /* mov cr4, rax */
    {TO_DR, {0x0f, 0x23, 0xc0, 0x90}},         /* mov dr0, rax */
    {TO_DR, {0x0f, 0x23, 0xf0, 0x90}},         /* mov dr6, rax */
    {TO_DR, {0x0f, 0x23, 0xf8, 0x90}},         /* mov dr7, rax */
    {NUMBER, {0x0f, 0x21, 0xf8, 0x90}},        /* mov rax, dr7 */
    {DEVICE, {0x0f, 0x01, 0x3f, 0x90}},        /* invlpg [rdi] */
    {PORT_STRING, {0x6c, 0x90, 0x90, 0x90}},   /* insb */
    {PORT_STRING, {0x6e, 0x90, 0x90, 0x90}},   /* outsb */
    {PORT_STRING, {0xf3, 0x6d, 0x90, 0x90}},   /* rep insd */
    {PORT_STRING, {0xf3, 0x66, 0x6f, 0x90}},   /* rep outsw */
    {RANDOM, {0}},
};

static u64 state, digest, first_seed;
static u8 code[16];
static u8 page[4096] __attribute__((aligned(4096))); /* for string I/O and random bytes */
static u32 interrupts;
static u64 cr0, cr3, cr4; /* as they are between two instructions */

static u64 next(void) { /* splitmix64 */
    u64 z = state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* A random number, or one of those at which things change. */
static u64 number(void) {
    static const u64 edges[] = {0, 1, ~0ull, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x40000000};
    u64 r = next();

    if (r & 1) return edges[(r >> 1) % ARRAY_SIZE(edges)];
    return next() >> (r >> 8 & 63);
}

static u64 pick_msr(void) {
    static const u32 bases[] = {0,          0x170,      0x200,      0x6e0,      0x800,      0x820,
                                0xc0000080, 0xc0000100, 0xc0010000, 0xc0010110, 0x40000000, 0x480};
    u32 msr = bases[next() % ARRAY_SIZE(bases)] + (u32)(next() & 0x3f);

    /* Without these the program itself would not go on. */
    if (msr == MSR_EFER || msr == MSR_GS_BASE || msr == MSR_TSC) msr = MSR_PAT;
    return msr;
}

/* Reset and power: attack's deeds have them, and they would end each run early. The widest access
 * takes four ports. */
static bool ends_run(u64 port) {
    static const u16 last[] = {0x64, 0x92, 0xcf9, 0x605};

    for (u32 i = 0; i < ARRAY_SIZE(last); i++)
        if (port <= last[i] && port + 4 > last[i]) return true;
    return false;
}

static u64 pick_port(void) {
    static const u16 bases[] = {0x00, 0x20, 0x40, 0x5d, 0x70, 0xa0, 0x3f8, 0x4d0, 0x608, 0xcfa, 0};
    u32 which = (u32)(next() % ARRAY_SIZE(bases));
    u64 port = which == ARRAY_SIZE(bases) - 1 ? next() & 0xffff : bases[which] + (next() & 7);

    return ends_run(port) ? 0x80 : port;
}

static u64 pick_device(void) {
    static const u64 bases[] = {0xfee00000, 0xfee00000, 0xfec00000, 0xfec00010, 0xb0000000,
                                0xfee00ff8, 0xfed00000, 0xfed00100, 0xfe900000};
    u64 base = bases[next() % ARRAY_SIZE(bases)], r = next();

    return base + (r & 1 ? r >> 8 & 0x3f0 : r & 2 ? r >> 8 & 0xfff : 0);
}

/* Some bits of it changed. Tables that are not there end the run, so they come up seldom. What QEMU takes without an
 * exception, to refuse the whole state at the next entry or to leave long mode in the middle of it, is left out there.
 */
static u64 pick_control(enum pick pick) {
    const bool lenient = option_given("lenient");
    const u64 now = pick == TO_CR0 ? cr0 : pick == TO_CR3 ? cr3 : pick == TO_CR4 ? cr4 : 0x400;
    const u64 fine = pick == TO_CR0   ? CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_CD
                     : pick == TO_CR3 ? 0xfff
                     : pick == TO_CR4 ? CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_MCE | CR4_PGE | CR4_PCE
                                      : 0xffffffff;
    u64 r = next(), value = next();

    if (pick == TO_CR3 && r % 256 == 0) return value >> 32;
    if (pick == TO_CR3 && !lenient) return now ^ (value & (0xfffull << 52 | 0xfff));
    if (lenient) return now ^ (value & fine);
    return r & 1 ? value : now ^ BIT(r >> 8 & 31) ^ (r & 2 ? BIT(r >> 14 & 63) : 0);
}

struct operands {
    u64 a, c, d, s, t;
};

static void run(void *argument) {
    struct operands *o = argument;

    __asm__ volatile("call *%5"
                     : "+a"(o->a), "+c"(o->c), "+d"(o->d), "+S"(o->s), "+D"(o->t)
                     : "r"((u64)code)
                     : "rbx", "cc", "memory");
}

/* One instruction of random bytes: the trap flag, set by IRET, ends it. Registers that the compiler uses are 0. */
static void step(void *argument) {
    const struct operands *o = argument;

    __asm__ volatile("pushq %%rbx\n\t"
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rbx\n\t"
                     "pushq %%rbx\n\t" /* where a RET would go */
                     "movq %%rsp, %%rbx\n\t"
                     "movl %%ss, %%ebp\n\t"
                     "pushq %%rbp\n\t"
                     "pushq %%rbx\n\t"
                     "pushfq\n\t"
                     "orl $0x100, (%%rsp)\n\t"
                     "movl %%cs, %%ebp\n\t"
                     "pushq %%rbp\n\t"
                     "pushq %0\n\t"
                     "xorl %%ebx, %%ebx\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "iretq\n"
                     "1:\tpopq %%rbp\n\t"
                     "popq %%rbx"
                     :
                     : "r"((u64)page), "a"(o->a), "c"(o->c), "d"(o->d), "S"(o->s), "D"(o->t)
                     : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
}

/* HLT would sleep, POPF and IRET could end the single step. */
static void fill_page(void) {
    for (u32 i = 0; i < RANDOM_BYTES; i++) {
        u8 byte = (u8)next();

        page[i] = byte == 0xf4 || byte == 0x9d || byte == 0xcf ? 0x90 : byte;
    }
    page[RANDOM_BYTES] = 0xc3;
}

/* A #DB for DR7's GD bit leaves that clear: the second try has its way. */
static void restore(void *argument) {
    (void)argument;
    __asm__ volatile("movq %0, %%dr7" ::"r"(0x400ull));
    __asm__ volatile("movq %0, %%cr3" ::"r"(cr3) : "memory");
    write_cr4(cr4);
    write_cr0(cr0);
}

static void one(void) {
    u32 index = (u32)(next() % ARRAY_SIZE(templates));
    const struct template *t = &templates[index];
    struct operands o = {number(), number(), number(), 0, 0};
    struct fault f;

    o.t = pick_device();
    if (t->pick == MSR) o.c = pick_msr();
    if (t->pick == PORT) o.d = pick_port();
    if (t->pick == PORT_STRING) {
        o.d = pick_port();
        o.s = o.t = (u64)page;
    }
    if (t->pick == DEVICE_STRING || t->pick == PORT_STRING) o.c = next() & 15;
    if (t->pick >= TO_CR0 && t->pick <= TO_DR) o.a = pick_control(t->pick);
    for (u32 i = 0; i < CODE_BYTES; i++) code[i] = t->code[i];
    code[CODE_BYTES] = 0xc3;
    if (t->pick == RANDOM) fill_page();
    f = fault_try(t->pick == RANDOM ? step : run, &o);
    if (fault_try(restore, NULL).raised) (void)fault_try(restore, NULL);
    digest = (digest ^ (index << 8 | (f.raised ? f.vector + 1 : 0))) * 0x100000001b3;
}

static void on_any(struct trap_frame *frame) {
    interrupts++;
    if (frame->vector >= 32) lapic_eoi();
}

static u64 seed(void) {
    u64 given = option_number("seed", 1);

    if (option_given("exact")) return given;
    delay_us(1000000);                     /* the clock must have moved on since the last start */
    for (u8 reg = 0; reg <= 4; reg += 2) { /* seconds, minutes, hours */
        out8(0x70, reg);
        given = given * 61 + in8(0x71);
    }
    return given;
}

/* Outside of a try: something that was set up has come later. */
static void on_lost(struct trap_frame *frame) {
    console_break_lock();
    console_init();
    print("fuzzer: lost by %s\n", exception_name((u32)frame->vector));
    console_drain();
    power_reset();
}

void guest_main(void) {
    u64 count = option_number("run", 20000);

    cr0 = read_cr0();
    cr3 = read_cr3();
    cr4 = read_cr4();
    state = first_seed = seed();
    print("fuzzer: seed %lu exact, %lu instructions\n", first_seed, count);
    for (u32 vector = 0; vector < 256; vector++)
        interrupt_handler((u8)vector, vector >= 32 || vector == VEC_NMI ? on_any : on_lost);
    for (u64 i = 0; i < count; i++) {
        one();
        if (i % 64 == 0) {
            interrupts_on();
            __asm__ volatile("nop\n\tnop\n\tnop");
            interrupts_off();
        }
        if (i % PROGRESS == PROGRESS - 1) {
            console_init();
            print("fuzzer: seed %lu at %lu\n", first_seed, i + 1);
        }
    }
    console_init();
    print("fuzzer: done %lu interrupts %u digest 0x%lx\n", count, interrupts, digest);
    console_drain();
    if (!option_given("exact")) power_reset();
}
