/* Tries to break out of its partition or to disturb the others; the attempts lie in guests/attack.
 * Ends with `attack: done attempts N blocked N faults N breaches N` and powers off.
 *
 * Options: mem= the partition's memory (16M), only= one attempt by name, lenient (attack.h), do= a
 * deed that ends the partition, or do=sequence: one deed at each start, chosen by the wall clock's
 * second, so that `restart` goes through all of them. */
#include "core/base/string.h"
#include "guests/attack/attack.h"

u8 scratch[8192] __attribute__((aligned(4096)));

static void try_fault(void (*run)(void *), void *argument, u64 vectors, bool must, const char *what, u64 which) {
    struct fault f = fault_try(run, argument);
    bool expected = f.raised && (vectors & BIT(f.vector));

    judge(expected || (!f.raised && !must), expected ? &tally.expected : &tally.blocked, "%s 0x%llx: %s error 0x%llx",
          what, (unsigned long long)which, f.raised ? exception_name(f.vector) : "no exception",
          (unsigned long long)f.error);
}

void must_fault(void (*run)(void *), void *argument, u64 vectors, const char *what, u64 which) {
    try_fault(run, argument, vectors, true, what, which);
}

void may_fault(void (*run)(void *), void *argument, u64 vectors, const char *what, u64 which) {
    try_fault(run, argument, vectors, false, what, which);
}

u64 memory_bytes(void) { return option_number("mem", MIB(16)); }

bool lenient(void) { return option_given("lenient"); }

/* --- attempts ------------------------------------------------------------------------------- */

static void run_list(const struct attempt *list) {
    for (; list->name; list++)
        if (!option_given("only") || option_is("only", list->name)) try_attempt("attack", list, 0);
}

static void run_attempts(void) {
    run_list(memory_attempts);
    run_list(mmio_attempts);
    run_list(port_attempts);
    run_list(msr_attempts);
    run_list(instruction_attempts);
    run_list(state_attempts);
    run_list(table_attempts);
    run_list(user_attempts);
    run_list(apic_attempts);
    run_list(storm_attempts);
    print("attack: done attempts %lu blocked %lu faults %lu breaches %lu\n", tally.attempts, tally.blocked,
          tally.expected, tally.breaches);
}

/* --- deeds ---------------------------------------------------------------------------------- */

static u32 cmos(u8 index) {
    u8 value;

    out8(0x70, index);
    value = in8(0x71);
    return (value >> 4) * 10u + (value & 15u);
}

/* The wall clock goes on over a restart, and nothing else does. A run lasts one second of it. */
static u32 second_of_day(void) {
    u32 begin = cmos(0);

    while (cmos(0) == begin) delay_us(2000);
    return (cmos(4) % 24 * 60 + cmos(2)) * 60 + cmos(0);
}

/* Where the processor itself refuses, its exception is the crash. */
static void on_exception(struct trap_frame *frame) {
    static const u8 empty[10];

    print("attack: refused with %s\n", exception_name((u32)frame->vector));
    console_drain();
    __asm__ volatile("lidt %0\n\tint3" ::"m"(empty));
}

static noreturn_fn void run_deed(const struct attempt *deed) {
    leftover_state();
    for (u8 vector = 0; vector < 32; vector++) interrupt_handler(vector, on_exception);
    print("attack: about to %s now\n", deed->name);
    console_drain();
    deed->run();
    print("attack: %s BREACH survived\n", deed->name);
    power_reset();
}

static void run_deeds(void) {
    const u32 count = deed_count();

    for (u32 i = 0; i < count; i++)
        if (option_is("do", deeds[i].name)) run_deed(&deeds[i]);
    if (option_is("do", "sequence")) {
        print("attack: deeds %u\n", count);
        run_deed(&deeds[second_of_day() % count]);
    }
    print("attack: do= must be sequence or one of:");
    for (u32 i = 0; i < count; i++) print(" %s", deeds[i].name);
    print("\n");
}

void guest_main(void) {
    if (option_given("do"))
        run_deeds();
    else
        run_attempts();
}
