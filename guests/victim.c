/* A partition with something to lose: it keeps patterns in its memory and in all its registers, is
 * woken by a periodic timer, and expects no other interrupt. Runs until a key comes or after
 * periods=; the end line is `victim: done periods N missed N unexpected N corrupt N`.
 *
 * Options: period_us= (20000), periods= (0: until a key), fill= bytes to watch (4M). */
#include "core/base/bits.h"
#include "guests/lib/guest.h"

#define TIMER_VECTOR 0x40

static volatile struct { u64 periods, missed, unexpected, corrupt, passes, worst; } seen;
static volatile u32 strange_vector;
static u64 period, due;

/* How many registers differ from their patterns after `rounds` of waiting. */
extern u64 victim_registers(u64 rounds);
__asm__(".pushsection .text\n"
        "victim_registers:\n"
        "    pushq %rbx\n    pushq %rbp\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq "
        "%r15\n"
        "    movq %rdi, %rcx\n"
        "    movabsq $0x1111111111111111, %rax\n    movabsq $0x2222222222222222, %rbx\n"
        "    movabsq $0x3333333333333333, %rdx\n    movabsq $0x4444444444444444, %rsi\n"
        "    movabsq $0x5555555555555555, %rdi\n    movabsq $0x6666666666666666, %rbp\n"
        "    movabsq $0x7777777777777777, %r8\n     movabsq $0x8888888888888888, %r9\n"
        "    movabsq $0x9999999999999999, %r10\n    movabsq $0xaaaaaaaaaaaaaaaa, %r11\n"
        "    movabsq $0xbbbbbbbbbbbbbbbb, %r12\n    movabsq $0xcccccccccccccccc, %r13\n"
        "    movabsq $0xdddddddddddddddd, %r14\n    movabsq $0xeeeeeeeeeeeeeeee, %r15\n"
        "1:  pause\n    decq %rcx\n    jnz 1b\n"
        /* Each register minus a multiple of the first one: all zero, ORed together. */
        "    .macro differ reg, factor\n"
        "    imulq $-\\factor, %rax, %rcx\n    addq %rcx, \\reg\n"
        "    .endm\n"
        "    differ %rbx, 2\n    differ %rdx, 3\n    differ %rsi, 4\n    differ %rdi, 5\n"
        "    differ %rbp, 6\n    differ %r8, 7\n    differ %r9, 8\n    differ %r10, 9\n"
        "    differ %r11, 10\n    differ %r12, 11\n    differ %r13, 12\n    differ %r14, 13\n"
        "    differ %r15, 14\n"
        "    movabsq $0x1111111111111111, %rcx\n    xorq %rcx, %rax\n"
        "    orq %rbx, %rax\n    orq %rdx, %rax\n    orq %rsi, %rax\n    orq %rdi, %rax\n"
        "    orq %rbp, %rax\n    orq %r8, %rax\n    orq %r9, %rax\n    orq %r10, %rax\n"
        "    orq %r11, %rax\n    orq %r12, %rax\n    orq %r13, %rax\n    orq %r14, %rax\n"
        "    orq %r15, %rax\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbp\n    popq %rbx\n"
        "    ret\n"
        ".popsection\n");

static void on_timer(struct trap_frame *frame) {
    u64 now = rdtsc();

    (void)frame;
    if (now > due && now - due > seen.worst) seen.worst = now - due;
    seen.periods++;
    due += period;
    while (now >= due) { /* the next one is due already */
        seen.missed++;
        seen.periods++;
        due += period;
    }
    timer_at(due);
    lapic_eoi();
}

static void on_strange(struct trap_frame *frame) {
    seen.unexpected++;
    strange_vector = (u32)frame->vector;
    if (frame->vector >= 32) lapic_eoi();
}

static u64 pattern(u64 at) { return (at ^ 0x5ec7e75ec7e75ec7) * 0x9e3779b97f4a7c15; }

/* The memory is looked through in pieces, so that the registers and the keyboard have their turn.
 */
static void check_memory(volatile u64 *memory, u64 words, u64 *next) {
    for (u32 i = 0; i < 4096; i++) {
        if (memory[*next] != pattern(*next)) {
            seen.corrupt++;
            memory[*next] = pattern(*next);
        }
        if (++*next == words) {
            *next = 0;
            seen.passes++;
        }
    }
}

static bool key(void) { return in8(COM1 + 5) & 1; }

void guest_main(void) {
    u64 words = option_number("fill", MIB(4)) / 8, last = option_number("periods", 0), next = 0;
    volatile u64 *memory = (volatile u64 *)(u64)MIB(4);

    for (u64 i = 0; i < words; i++) memory[i] = pattern(i);
    period = ns_to_ticks(option_number("period_us", 20000) * 1000);
    for (u32 vector = 32; vector < 256; vector++)
        if (vector != SPURIOUS_VECTOR) interrupt_handler((u8)vector, on_strange);
    interrupt_handler(VEC_NMI, on_strange);
    interrupt_handler(TIMER_VECTOR, on_timer);
    timer_setup(TIMER_VECTOR);
    print("victim: watching %lu words, period %lu us\n", words, ticks_to_ns(period) / 1000);
    due = rdtsc() + period;
    timer_at(due);
    interrupts_on();
    while (last ? seen.periods < last : !key()) {
        seen.corrupt += victim_registers(2000) != 0;
        check_memory(memory, words, &next);
    }
    interrupts_off();
    timer_stop();
    /* What was done behind the last look is seen as well. */
    for (u64 i = 0; i < words; i += 4096) check_memory(memory, words, &next);
    print("victim: memory passes %lu, worst lateness %lu us, last strange vector 0x%x\n", seen.passes,
          ticks_to_ns(seen.worst) / 1000, strange_vector);
    print("victim: done periods %lu missed %lu unexpected %lu corrupt %lu\n", seen.periods, seen.missed,
          seen.unexpected, seen.corrupt);
}
