/* Tries to reach others through the devices that it owns; the attempts lie in guests/dma. Ends with
 * `dma: done attempts N blocked N expected N breaches N` and powers off.
 *
 * Options: mem= the partition's memory (16M), ram= the machine's, victim= and victim_bytes= machine addresses of
 * another partition, self= its own machine address if DMA is
 * not translated, only= and skip= attempts by name, separated by commas, wait_ms= before
 * the first, long, do=restart: see run_restarts. */
#include "core/base/string.h"
#include "guests/dma/dma.h"

u64 memory_bytes(void) { return option_number("mem", MIB(16)); }

/* --- the second CPU */

static void (*volatile helper_work)(void);
static volatile u32 helper_turns;

static void help(u32 index) {
    (void)index;
    interrupts_on();
    for (;;) {
        void (*work)(void) = helper_work;

        if (work) work();
        helper_turns++;
        cpu_pause();
    }
}

void helper_do(void (*work)(void)) { helper_work = work; }

void helper_stop(void) {
    u32 turns = helper_turns;
    u64 end = rdtsc() + ns_to_ticks(2000000000);

    helper_work = NULL;
    while (helper_turns - turns < 2 && rdtsc() < end) cpu_pause();
}

/* --- attempts */

/* Is name in the list that the option holds? */
static bool listed(const char *option, const char *name) {
    char text[256], *word = text;

    if (!option_text(option, text, sizeof(text))) return false;
    for (char *c = text;; c++) {
        char end = *c;

        if (end && end != ',') continue;
        *c = 0;
        if (str_equal(word, name)) return true;
        if (!end) return false;
        word = c + 1;
    }
}

/* pause_ms: of quiet before and after each attempt. */
static void run_list(const struct attempt *list, u32 pause_ms) {
    for (; list->name; list++) {
        if (option_given("only") && !listed("only", list->name)) continue;
        if (listed("skip", list->name)) {
            print("dma: %s left out\n", list->name);
            continue;
        }
        print("dma: %s begins\n", list->name);
        try_attempt("dma", list, pause_ms);
    }
}

void guest_main(void) {
    find_functions();
    print("dma: %u functions, %u of them edu\n", function_count, edu_count);
    if (!edu_count) return;
    count_interrupts();
    if (option_is("do", "restart")) {
        run_restarts();
        return;
    }
    if (acpi.cpu_count > 1) (void)smp_start(help);
    delay_us(option_number("wait_ms", 0) * 1000);
    /* So long that the log tells of each by itself. */
    run_list(memory_attempts, 250);
    run_list(message_attempts, 0);
    run_list(bar_attempts, 0);
    run_list(config_attempts, 0);
    run_list(pending_attempts, 0);
    print("dma: done attempts %lu blocked %lu expected %lu breaches %lu\n", tally.attempts, tally.blocked,
          tally.expected, tally.breaches);
}
