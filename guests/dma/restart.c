/* The partition ends while its devices write. Nothing survives it but a device that cannot be reset: the edu's
 * factorial tells which round this is. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"

#define ROUNDS 6u
#define WATCH  MIB(8)
#define BYTES  MIB(4)

static u32 factorial(u32 n) { return n < 2 ? 1 : n * factorial(n - 1); }

/* 0 on the first start. */
static u32 round_of(u32 found) {
    u32 n = 0;

    while (n < ROUNDS && factorial(n + 1) < found) n++;
    return found ? n + 1 : 0;
}

static void remember(u32 round) {
    edu_write(0, EDU_FACT, round);
    while (edu_read(0, EDU_STATUS) & EDU_COMPUTING) delay_us(1000);
}

/* Memory that the last round's transfers were meant for. */
static void check_clean(void) {
    const volatile u64 *word = (const volatile u64 *)WATCH;
    u64 bad = 0;

    for (u64 i = 0; i < BYTES / 8; i++) bad += word[i] != 0;
    check(!bad, "%lu words were written after the end", bad);
}

static void start_transfers(void) {
    for (u32 e = 0; e < edu_count; e++) {
        dma_start(e, TO_RAM, e % 4 == 3 ? option_number("victim", 0) + MIB(5) : WATCH + e * MIB(1) / 8, 0, 2048);
        delay_us(100000 / edu_count);
    }
}

static void end_by_fault(void) {
    static const u8 empty[10];

    __asm__ volatile("lidt %0\n\tint3" ::"m"(empty));
}

void run_restarts(void) {
    u32 round;

    for (u32 e = 0; e < edu_count; e++) config_write(edus[e]->id, REG_COMMAND, 2, MEMORY);
    dma_wait(); /* what a device had under way is over: without bus mastering it comes to nothing */
    for (u32 e = 0; e < edu_count; e++) repair(edus[e]);
    round = round_of(edu_read(0, EDU_FACT));
    check_clean();
    print("dma: round %u breaches %lu\n", round, tally.breaches);
    if (round >= ROUNDS) return;
    load_buffers();
    remember(round + 1);
    start_transfers();
    print("dma: about to end\n");
    if (round & 1) power_reset();
    end_by_fault();
}
