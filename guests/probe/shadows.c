/* Boundaries between instructions: interrupt shadows, exceptions beside pending interrupts, and
 * interrupts inside string instructions. */
#include "guests/probe/probe.h"

#define VECTOR       0x51
#define TIMER_VECTOR 0x41
#define STRING_BYTES 4096

static u64 taken_rip, taken, after_exception;
static u32 exceptions;

static void note(struct trap_frame *frame) {
    taken_rip = frame->rip;
    after_exception = exceptions;
    taken++;
    lapic_eoi();
}

/* Interrupts are off; leaves one pending in the IRR. */
static void make_pending(void) {
    interrupt_handler(VECTOR, note);
    taken = taken_rip = exceptions = 0;
    lapic_ipi_self(VECTOR);
    delay_us(100);
}

static void drain(void) {
    interrupts_on();
    delay_us(1000);
    interrupts_off();
}

/* STI holds interrupts off for one more instruction: if that is CLI, none is taken. */
static bool sti_cli(void) {
    u64 early;

    make_pending();
    __asm__ volatile("sti\n\tcli" ::: "memory");
    early = taken;
    drain();
    detail("taken in the shadow: %lu, later: %lu", early, taken - early);
    return early == 0 && taken == 1;
}

/* The instruction in the shadow exits. The interrupt comes right behind it, not before, not lost.
 */
static bool sti_cpuid(void) {
    u64 behind;

    make_pending();
    __asm__ volatile("leaq 1f(%%rip), %0\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "sti\n\t"
                     "cpuid\n"
                     "1:\tnop\n\t"
                     "cli"
                     : "=&S"(behind)
                     :
                     : "rax", "rbx", "rcx", "rdx", "memory");
    detail("taken %lu at %ld bytes from the end of cpuid", taken, (s64)(taken_rip - behind));
    return taken == 1 && taken_rip == behind;
}

static bool sti_hlt(void) {
    make_pending();
    wait_for_interrupt();
    return taken == 1;
}

static u64 steps[8];
static u32 step_count;

static void on_step(struct trap_frame *frame) {
    if (step_count < 8) steps[step_count++] = frame->rip;
}

/* Single-stepping over MOV SS: its trap waits for the end of the next instruction. SDM Vol 3A,
 * Masking Exceptions and Interrupts When Switching Stacks. */
static bool mov_ss(void) {
    u64 behind;
    bool inside = false;

    interrupt_handler(VEC_DB, on_step);
    step_count = 0;
    __asm__ volatile("movl %%ss, %%ecx\n\t"
                     "leaq 1f(%%rip), %0\n\t"
                     "pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "movl %%ecx, %%ss\n"
                     "1:\tnop\n\t"
                     "nop\n\t"
                     "pushfq\n\t"
                     "andq $~0x100, (%%rsp)\n\t"
                     "popfq"
                     : "=&r"(behind)
                     :
                     : "rcx", "memory", "cc");
    interrupt_handler(VEC_DB, NULL);
    for (u32 i = 0; i < step_count; i++) inside |= steps[i] == behind;
    detail("%u steps%s", step_count, inside ? ", one in the shadow" : "");
    return step_count >= 3 && !inside;
}

/* INT1 in that shadow, under TF: on VMX an exit whose state the next entry takes only if the step is pending (SDM Vol
 * 3C, Checks on Guest Non-Register State). How many traps come is not compared. */
static bool no_int1;
static void on_no_int1(struct trap_frame *frame) { /* QEMU does not know it */
    no_int1 = true;
    frame->rip++;
}

static bool mov_ss_int1(void) {
    interrupt_handler(VEC_DB, on_step);
    interrupt_handler(VEC_UD, on_no_int1);
    step_count = 0;
    __asm__ volatile("movl %%ss, %%ecx\n\t"
                     "pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "popfq\n\t"
                     "movl %%ecx, %%ss\n\t"
                     ".byte 0xf1\n\t"
                     "nop\n\t"
                     "pushfq\n\t"
                     "andq $~0x100, (%%rsp)\n\t"
                     "popfq" ::
                         : "rcx", "memory", "cc");
    interrupt_handler(VEC_DB, NULL);
    interrupt_handler(VEC_UD, NULL);
    detail("%u traps%s", step_count, no_int1 ? ", and no int1" : "");
    return step_count >= 2;
}

/* TF over an instruction that exits: the hypervisor skips it and must still raise #DB behind it. */
static bool step_cpuid(void) {
    u64 behind;
    bool seen = false;

    interrupt_handler(VEC_DB, on_step);
    step_count = 0;
    __asm__ volatile("leaq 1f(%%rip), %0\n\t"
                     "pushfq\n\t"
                     "orq $0x100, (%%rsp)\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "popfq\n\t"
                     "cpuid\n"
                     "1:\tnop\n\t"
                     "pushfq\n\t"
                     "andq $~0x100, (%%rsp)\n\t"
                     "popfq"
                     : "=&S"(behind)
                     :
                     : "rax", "rbx", "rcx", "rdx", "memory", "cc");
    interrupt_handler(VEC_DB, NULL);
    for (u32 i = 0; i < step_count; i++) seen |= steps[i] == behind;
    detail("%u steps%s", step_count, seen ? "" : ", none behind cpuid");
    return seen;
}

/* How often a single step trapped with rip on `at`, and how often right behind. */
static void value_steps(u64 at, u64 behind) {
    u32 on = 0, after = 0;

    for (u32 i = 0; i < step_count && i < 8; i++) {
        on += steps[i] == at;
        after += steps[i] == behind;
    }
    value("%u/%u", on, after);
}

/* TF over one instruction that exits. */
#define STEP(text, c, d)                                                                                               \
    do {                                                                                                               \
        u64 at, behind, rcx = (c), rdi = (u64)bytes;                                                                   \
        step_count = 0;                                                                                                \
        __asm__ volatile("leaq 1f(%%rip), %0\n\tleaq 2f(%%rip), %1\n\t"                                                \
                         "pushfq\n\torq $0x100, (%%rsp)\n\txorl %%eax, %%eax\n\tpopfq\n"                               \
                         "1:\t" text "\n2:\tnop\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq"                           \
                         : "=&S"(at), "=&r"(behind), "+c"(rcx), "+D"(rdi)                                              \
                         : "d"((u64)(d)), "b"(0xfee00080ul)                                                            \
                         : "rax", "memory", "cc");                                                                     \
        value_steps(at, behind);                                                                                       \
    } while (0)

static u8 bytes[STRING_BYTES + 1];

/* A repeated string instruction traps behind each round, with rip still on it. SDM Vol 3B, Single-Step Exception
 * Condition. The local APIC's page is read by memory, port 0x21 by string. */
static bool step_others(void) {
    interrupt_handler(VEC_DB, on_step);
    STEP("inb %%dx, %%al", 0, 0x21);
    STEP("outb %%al, %%dx", 0, 0x80);
    STEP("movq %%cr8, %%rax", 0, 0);
    STEP("wbinvd", 0, 0);
    STEP("insb", 1, 0x21);
    STEP("rep insb", 3, 0x21);
    if (!lapic_is_x2()) {
        STEP("movl (%%rbx), %%eax", 0, 0);
        STEP("movl %%eax, (%%rbx)", 0, 0);
    }
    interrupt_handler(VEC_DB, NULL);
    return true;
}

/* The interrupt shadow of STI over instructions that exit: a pending interrupt comes right behind. */
#define SHADOW(text)                                                                                                   \
    do {                                                                                                               \
        u64 behind;                                                                                                    \
        make_pending();                                                                                                \
        __asm__ volatile("leaq 1f(%%rip), %0\n\txorl %%eax, %%eax\n\tsti\n\t" text "\n1:\tnop\n\tcli"                  \
                         : "=&S"(behind)                                                                               \
                         : "d"(0x80ul), "b"(0xfee00080ul)                                                              \
                         : "rax", "rcx", "memory", "cc");                                                              \
        value("%lu/%ld", taken, (s64)(taken_rip - behind));                                                            \
    } while (0)

static bool shadow_others(void) {
    SHADOW("outb %%al, %%dx");
    SHADOW("inb %%dx, %%al");
    if (!lapic_is_x2()) SHADOW("movl (%%rbx), %%ecx");
    SHADOW("wbinvd");
    return true;
}

static void skip_two_bytes(struct trap_frame *frame) {
    exceptions++;
    frame->rip += 2;
}

/* The instruction in the shadow raises an exception: that comes first, its handler runs with
 * interrupts off, the interrupt follows its IRET. */
static bool exception_first(void) {
    make_pending();
    interrupt_handler(VEC_UD, skip_two_bytes);
    __asm__ volatile("sti\n\tud2\n\tnop\n\tcli" ::: "memory");
    interrupt_handler(VEC_UD, NULL);
    detail("%u exceptions, then %lu interrupts", exceptions, taken);
    return exceptions == 1 && taken == 1 && after_exception == 1;
}

/* The same, with an exception that the hypervisor injects. */
static bool injected_first(void) {
    if (lenient_msrs()) {
        detail("not checked: no MSR faults on this emulator");
        return true;
    }
    make_pending();
    interrupt_handler(VEC_GP, skip_two_bytes);
    __asm__ volatile("sti\n\trdmsr\n\tnop\n\tcli" ::"c"(0x12345678) : "rax", "rdx", "memory");
    interrupt_handler(VEC_GP, NULL);
    detail("%u exceptions, then %lu interrupts", exceptions, taken);
    return exceptions == 1 && taken == 1 && after_exception == 1;
}

/* Reads ports in one instruction under a fast timer: each byte must be stored once, in place, and
 * the interrupts must come through. Port 0x21 is the 8259's mask, all ones here. */
static bool string_input(void) {
    u64 end = rdtsc() + ns_to_ticks(2000000000);

    interrupt_handler(TIMER_VECTOR, note);
    taken = 0;
    timer_setup(TIMER_VECTOR);
    timer_every(ns_to_ticks(200000));
    for (u32 round = 0; taken < 3 && rdtsc() < end; round++) {
        u8 *to = bytes;
        u64 left = STRING_BYTES;

        for (u32 i = 0; i <= STRING_BYTES; i++) bytes[i] = 0x5a;
        interrupts_on();
        __asm__ volatile("cld\n\trep insb" : "+D"(to), "+c"(left) : "d"(0x21) : "memory");
        interrupts_off();
        for (u32 i = 0; i < STRING_BYTES; i++)
            if (bytes[i] != 0xff) {
                timer_stop();
                detail("round %u: byte %u is 0x%x", round, i, bytes[i]);
                return false;
            }
        if (left || to != bytes + STRING_BYTES || bytes[STRING_BYTES] != 0x5a) {
            timer_stop();
            detail("round %u: rcx %lu, rdi at %ld", round, left, (s64)(to - bytes));
            return false;
        }
    }
    timer_stop();
    drain();
    detail("%lu interrupts", taken);
    return taken >= 3;
}

/* Downwards, words, and a count of zero. */
static bool string_output(void) {
    const u16 words[4] = {1, 2, 3, 4};
    const u16 *from = words + 3;
    u64 left = 4, none = 0;
    const u16 *still = words;

    __asm__ volatile("std\n\trep outsw\n\tcld" : "+S"(from), "+c"(left) : "d"(0x80) : "memory");
    __asm__ volatile("rep outsw" : "+S"(still), "+c"(none) : "d"(0x80) : "memory");
    return left == 0 && (u64)from == (u64)words - 2 && none == 0 && still == words;
}

/* Through FS, by 32-bit addresses whose upper half does not count, to a register that keeps a byte: COM1's scratch. */
static bool string_addresses(void) {
    const u64 junk = 0xabcd00000000;
    u64 from = 2, to = (u64)bytes | junk, count = 3 | junk, base = rdmsr(MSR_FS_BASE);

    console_drain();
    wrmsr(MSR_FS_BASE, (u64)bytes);
    bytes[0] = 0x11, bytes[2] = 0x33, bytes[5] = 0x5a;
    __asm__ volatile("cld\n\tfs outsb" : "+S"(from) : "d"(COM1 + 7) : "memory");
    value("%x %lx", in8(COM1 + 7), from);
    from = junk;
    __asm__ volatile("fs addr32 outsb" : "+S"(from) : "d"(COM1 + 7) : "memory");
    value("%x %lx", in8(COM1 + 7), from);
    wrmsr(MSR_FS_BASE, base);
    __asm__ volatile("addr32 rep insb" : "+D"(to), "+c"(count) : "d"(COM1 + 7) : "memory");
    value("%x %x %ld %lx", bytes[0], bytes[2], (s64)(to - (u64)bytes), count);
    to = (u64)bytes + 5;
    __asm__ volatile("std\n\tfs insb\n\tcld" : "+D"(to) : "d"(COM1 + 7) : "memory"); /* ES, whatever the prefix */
    value("%x %ld", bytes[5], (s64)(to - (u64)bytes));
    return true;
}

const struct check shadow_checks[] = {
    {"sti-cli", sti_cli},
    {"sti-cpuid", sti_cpuid},
    {"sti-hlt", sti_hlt},
    {"mov-ss", mov_ss},
    {"mov-ss-int1", mov_ss_int1},
    {"step-cpuid", step_cpuid},
    {"step-others", step_others},
    {"sti-others", shadow_others},
    {"exception-before-interrupt", exception_first},
    {"injected-before-interrupt", injected_first},
    {"string-input", string_input},
    {"string-output", string_output},
    {"string-addresses", string_addresses},
    {0},
};
