/* Runs random instructions that exit: MSRs, ports, device registers, CPUID, control registers,
 * hypercalls. The same seed gives the same instructions. It may well end itself; `restart` then
 * starts it with the next seed, which follows from the wall clock unless `exact` is given.
 *
 * Options: seed= (1), exits= instructions to run (100000), exact. */
#include "core/base/bits.h"
#include "guests/lib/guest.h"

#define CODE_BYTES 4 /* of a template */

/* rax, rcx, rdx, rdi are random or chosen by `pick`; the code may change those and rsi only. */
enum pick { NUMBER, MSR, PORT, DEVICE, DEVICE_STRING };
static const struct template {
    enum pick pick;
    u8 code[CODE_BYTES]; /* filled up with NOP */
}
templates[] = {
    {NUMBER, {0x0f, 0xa2, 0x90, 0x90}},                                            /* cpuid; rbx is saved */
    {MSR, {0x0f, 0x32, 0x90, 0x90}},                                               /* rdmsr */
    {MSR, {0x0f, 0x30, 0x90, 0x90}},                                               /* wrmsr */
    {PORT, {0xec, 0x90, 0x90, 0x90}},                                              /* in al, dx */
    {PORT, {0x66, 0xed, 0x90, 0x90}},                                              /* in ax, dx */
    {PORT, {0xed, 0x90, 0x90, 0x90}},                                              /* in eax, dx */
    {PORT, {0xee, 0x90, 0x90, 0x90}},                                              /* out dx, al */
    {PORT, {0x66, 0xef, 0x90, 0x90}},                                              /* out dx, ax */
    {PORT, {0xef, 0x90, 0x90, 0x90}},                                              /* out dx, eax */
    {DEVICE, {0x8b, 0x07, 0x90, 0x90}},                                            /* mov eax, [rdi] */
    {DEVICE, {0x89, 0x07, 0x90, 0x90}},                                            /* mov [rdi], eax */
    {DEVICE, {0x89, 0x07, 0x90, 0x90}},        {DEVICE, {0x48, 0x89, 0x07, 0x90}}, /* mov [rdi], rax */
    {DEVICE, {0x48, 0x8b, 0x07, 0x90}},                                            /* mov rax, [rdi] */
    {DEVICE, {0x88, 0x07, 0x90, 0x90}},                                            /* mov [rdi], al */
    {DEVICE, {0x0f, 0xb7, 0x07, 0x90}},                                            /* movzx eax, word [rdi] */
    {DEVICE, {0x01, 0x07, 0x90, 0x90}},                                            /* add [rdi], eax */
    {DEVICE, {0x87, 0x07, 0x90, 0x90}},                                            /* xchg [rdi], eax */
    {DEVICE, {0xf0, 0x0f, 0xb1, 0x0f}},                                            /* lock cmpxchg [rdi], ecx */
    {DEVICE, {0xf0, 0x0f, 0xc1, 0x07}},                                            /* lock xadd [rdi], eax */
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
};

static u64 state, digest;
static u8 code[16];
static u32 interrupts;

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
    static const u64 bases[] = {0xfee00000, 0xfee00000, 0xfec00000, 0xfec00010, 0xb0000000, 0xfee00ff8};
    u64 base = bases[next() % ARRAY_SIZE(bases)], r = next();

    return base + (r & 1 ? r >> 8 & 0x3f0 : r & 2 ? r >> 8 & 0xfff : 0);
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

static void one(void) {
    u32 index = (u32)(next() % ARRAY_SIZE(templates));
    const struct template *t = &templates[index];
    struct operands o = {number(), number(), number(), 0, 0};
    struct fault f;

    o.t = pick_device();
    if (t->pick == MSR) o.c = pick_msr();
    if (t->pick == PORT) o.d = pick_port();
    if (t->pick == DEVICE_STRING) o.c = next() & 15;
    for (u32 i = 0; i < CODE_BYTES; i++) code[i] = t->code[i];
    code[CODE_BYTES] = 0xc3;
    f = fault_try(run, &o);
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

void guest_main(void) {
    u64 count = option_number("exits", 100000);

    state = seed();
    print("fuzzer: seed %lu exact, %lu instructions\n", state, count);
    for (u32 vector = 0; vector < 256; vector++)
        if (vector >= 32 || vector == VEC_NMI) interrupt_handler((u8)vector, on_any);
    for (u64 i = 0; i < count; i++) {
        one();
        if (i % 64 == 0) {
            interrupts_on();
            __asm__ volatile("nop\n\tnop\n\tnop");
            interrupts_off();
        }
    }
    console_init();
    print("fuzzer: done %lu interrupts %u digest 0x%lx\n", count, interrupts, digest);
}
