/* Tries to break out of its partition or to disturb the others; the attempts lie in guests/attack.
 * Ends with `attack: done attempts N blocked N faults N breaches N` and powers off.
 *
 * Options: mem= the partition's memory (16M), only= one attempt by name, lenient (attack.h), do= a
 * deed that ends the partition, or do=sequence: one deed at each start, chosen by the wall clock's
 * second, so that `restart` goes through all of them. */
#include "core/base/string.h"
#include "guests/attack/attack.h"

static struct { u64 attempts, blocked, faults, breaches; } total;
static u64 breaches_here;
static char first_breach[160];

u8 scratch[8192] __attribute__((aligned(4096)));

static void breach(const char *text) {
    total.breaches++;
    if (!breaches_here++) (void)str_copy(first_breach, sizeof(first_breach), text);
}

void check(bool ok, const char *format, ...) {
    char text[128];
    va_list args;

    total.attempts++;
    if (ok) {
        total.blocked++;
        return;
    }
    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);
    breach(text);
}

static void try_fault(void (*run)(void *), void *argument, u64 vectors, bool must, const char *what, u64 which) {
    struct fault f = fault_try(run, argument);
    char text[128];

    total.attempts++;
    if (f.raised && (vectors & BIT(f.vector))) {
        total.faults++;
    } else if (!f.raised && !must) {
        total.blocked++;
    } else {
        fmt(text, sizeof(text), "%s 0x%llx: %s error 0x%llx", what, (unsigned long long)which,
            f.raised ? exception_name(f.vector) : "no exception", (unsigned long long)f.error);
        breach(text);
    }
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
    for (; list->name; list++) {
        u64 before = total.attempts;

        if (option_given("only") && !option_is("only", list->name)) continue;
        breaches_here = 0;
        list->run();
        if (breaches_here)
            print("attack: %s BREACH %lu of %lu, first: %s\n", list->name, breaches_here, total.attempts - before,
                  first_breach);
        else
            print("attack: %s ok %lu\n", list->name, total.attempts - before);
    }
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
    print("attack: done attempts %lu blocked %lu faults %lu breaches %lu\n", total.attempts, total.blocked,
          total.faults, total.breaches);
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
    u32 count = 0;

    while (deeds[count].name) {
        if (option_is("do", deeds[count].name)) run_deed(&deeds[count]);
        count++;
    }
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
