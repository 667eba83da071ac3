/* MSI-X of an NVMe controller, counted: what is raised while it is masked pends, is seen in the Pending Bit Array, and
 * comes once, to where the entry then says; what is raised while the entry moves comes once too. Each command of the
 * admin queue is one message, at once and unthrottled. NVM Express 1.4, Controller Registers, Get Features command,
 * Completion Queue Entry; PCI Local Bus 3.0, MSI-X Capability and Table Structures. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"
#include "core/base/string.h"

#define NVME_IDS     0x00101b36u
#define NVME_CC      0x14u
#define NVME_CSTS    0x1cu
#define NVME_AQA     0x24u
#define NVME_ASQ     0x28u
#define NVME_ACQ     0x30u
#define NVME_SQ_TAIL 0x1000u
#define NVME_CQ_HEAD 0x1004u
#define CC_ENABLED   0x00460001u /* entries of 64 and 16 bytes */
#define GET_FEATURES 0x0au
#define QUEUES       7u /* the feature that is asked for */
#define DEPTH        32u

#define MSIX_ENABLE  0x8000u
#define MSIX_MASK    0x4000u
#define FIRST_VECTOR 0x72u /* the odd rounds have the next one */
#define ROUNDS       300u
#define MOVES        8u

static u32 commands[DEPTH][16] __attribute__((aligned(4096)));
static volatile u32 completions[DEPTH][4] __attribute__((aligned(4096)));
static u32 issued;

static const struct function *disk;
static volatile u32 *entry;
static const volatile u32 *bits;
static u32 control;               /* its place in configuration space */
static volatile u32 counts[2][2]; /* by vector and CPU */

static volatile u32 *nvme(u32 reg) { return (volatile u32 *)(disk->registers + reg); }

static void on_message(struct trap_frame *frame) {
    __atomic_fetch_add(&counts[frame->vector & 1][this_cpu()->index & 1], 1, __ATOMIC_RELAXED);
    lapic_eoi();
}

static u32 total(void) { return counts[0][0] + counts[0][1] + counts[1][0] + counts[1][1]; }

/* Until *at & mask is `want`, two seconds at most, with interrupts open. */
static bool wait_for(const volatile u32 *at, u32 mask, u32 want) {
    u64 end = rdtsc() + ns_to_ticks(2000000000);

    interrupts_on();
    while ((*at & mask) != want && rdtsc() < end) cpu_pause();
    interrupts_off();
    return (*at & mask) == want;
}

/* So long that a message too many would come. */
static void linger(void) {
    interrupts_on();
    delay_us(300);
    interrupts_off();
}

/* --- the controller */

static bool enable(void) {
    memset(commands, 0, sizeof(commands));
    memset((void *)completions, 0, sizeof(completions));
    issued = 0;
    *nvme(NVME_CC) = 0;
    if (!wait_for(nvme(NVME_CSTS), 1, 0)) return false;
    *nvme(NVME_AQA) = (DEPTH - 1) << 16 | (DEPTH - 1);
    *nvme(NVME_ASQ) = (u32)dma_address((const volatile void *)commands);
    *nvme(NVME_ASQ + 4) = 0;
    *nvme(NVME_ACQ) = (u32)dma_address(completions);
    *nvme(NVME_ACQ + 4) = 0;
    *nvme(NVME_CC) = CC_ENABLED;
    return wait_for(nvme(NVME_CSTS), 1, 1);
}

static void issue(void) {
    u32 *command = commands[issued % DEPTH];

    command[0] = issued << 16 | GET_FEATURES;
    command[10] = QUEUES;
    *nvme(NVME_SQ_TAIL) = ++issued % DEPTH;
}

/* Its entry is written: the phase bit turns with each round of the queue. False if it failed or never came. */
static bool finish(void) {
    u32 last = issued - 1;
    volatile u32 *done = &completions[last % DEPTH][3];
    bool good = wait_for(done, BIT(16), last / DEPTH & 1 ? 0 : BIT(16)) && !(*done >> 17);

    *nvme(NVME_CQ_HEAD) = issued % DEPTH;
    return good;
}

/* --- rounds */

static void aim(u32 cpu, u32 vector) {
    entry[0] = (u32)msi_address(smp_apic_id(cpu));
    entry[2] = FIRST_VECTOR + vector;
}

static void mask(bool one, bool all) {
    if (one) entry[3] = 1;
    if (all) config_write(disk->id, control, 2, MSIX_ENABLE | MSIX_MASK);
}

static void unmask(bool one, bool all) {
    if (all) config_write(disk->id, control, 2, MSIX_ENABLE);
    if (one) entry[3] = 0;
}

static void forget(void) {
    for (u32 i = 0; i < 4; i++) counts[i / 2][i & 1] = 0;
}

static void check_one(u32 cpu, u32 vector, u32 round) {
    (void)wait_for(&counts[vector][cpu], 1, 1);
    linger();
    expect(total() == 1 && counts[vector][cpu] == 1, "round %u: %u %u %u %u messages, want one of vector %u on cpu %u",
           round, counts[0][0], counts[0][1], counts[1][0], counts[1][1], vector, cpu);
    expect(!(bits[0] & 1), "round %u: it still pends", round);
    forget();
}

/* Entry, function or both are masked while it is raised, and it moves before they are unmasked. */
static void masked_round(u32 round, u32 cpu, u32 vector) {
    bool one = round % 3 != 1, all = round % 3 != 0;

    mask(one, all);
    issue();
    expect(finish(), "round %u: no completion", round);
    expect(wait_for(bits, 1, 1), "round %u: masked and raised, it does not pend", round);
    linger();
    aim(cpu, vector);
    linger();
    if (one && all) { /* one of the two is no more than the other */
        unmask(round & 1, !(round & 1));
        linger();
    }
    expect(total() == 0 && (bits[0] & 1), "round %u: %u messages while it is masked", round, total());
    unmask(one, all);
    check_one(cpu, vector, round);
}

/* It is raised while it moves: wherever it goes, it goes once. */
static void moving_round(u32 round, u32 cpu, u32 vector) {
    issue();
    for (u32 i = 0; i < MOVES; i++) {
        entry[0] = (u32)msi_address(smp_apic_id((cpu + 1 + i) & 1));
        entry[3] = i & 1;
    }
    entry[3] = 0;
    expect(finish(), "round %u: no completion", round);
    for (u64 end = rdtsc() + ns_to_ticks(2000000000); !total() && rdtsc() < end;) linger();
    linger();
    expect(total() == 1, "round %u: moved under way, it came %u times", round, total());
    forget();
    aim(cpu, vector);
    issue();
    expect(finish(), "round %u: no completion", round);
    check_one(cpu, vector, round);
}

static bool open_disk(void) {
    u32 msix, table, pending;

    disk = find_function(NVME_IDS);
    if (!disk || acpi.cpu_count < 2) return false;
    repair(disk);
    msix = capability(disk->id, CAP_MSIX);
    control = msix + 2;
    table = config_read(disk->id, msix + 4, 4);
    pending = config_read(disk->id, msix + 8, 4);
    expect((table & 7) == 0 && (pending & 7) == 0, "the table is not in BAR 0");
    entry = nvme(table & ~7u);
    bits = nvme(pending & ~7u);
    aim(0, 0);
    entry[1] = 0;
    entry[3] = 0;
    forget();
    for (u32 vector = 0; vector < 2; vector++) interrupt_handler((u8)(FIRST_VECTOR + vector), on_message);
    config_write(disk->id, control, 2, MSIX_ENABLE);
    return true;
}

static void msix_pending(void) {
    u64 before = tally.breaches;

    if (!open_disk()) return;
    if (enable())
        for (u32 round = 0; round < ROUNDS && tally.breaches == before; round++) { /* a lost one costs seconds */
            u32 cpu = round / 2 & 1, vector = round & 1;

            if (round % 4 == 3)
                moving_round(round, cpu, vector);
            else
                masked_round(round, cpu, vector);
        }
    else
        expect(false, "the controller does not start");
    *nvme(NVME_CC) = 0;
    repair(disk);
    drain();
    count_interrupts();
}

const struct attempt pending_attempts[] = {
    {"msix-pending", msix_pending},
    {0},
};
