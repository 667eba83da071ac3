/* boot/main.c on the fake machine, whose memory ends at each of boot's own allocations in turn: list of modules, tables
 * for a console above 4 GiB, processors, NUMA nodes, cores. Each boot in a process of its own. */
#include "test/fake/child.h"

#include "boot/multiboot2.h"
#include "core/base/bits.h"
#include "core/base/layout.h"
#include "drivers/acpi.h"
#include "drivers/clock.h"
#include "drivers/ioapic.h"
#include "drivers/lapic.h"
#include "drivers/srat.h"
#include "drivers/uart.h"

/* What boot/main.c calls and the fake machine has otherwise, or not as it is wanted here. */
#define core_start      fake_core_start
#define host_acpi_parse fake_acpi_parse
#define srat_ranges     fake_srat_ranges
#define srat_max_ranges fake_srat_max_ranges
#define srat_node       fake_srat_node
void fake_core_start(struct boot_info *boot) noreturn_fn;
int fake_acpi_parse(const void *rsdp, u64 bytes, const struct acpi_mem *mem, struct host_acpi *out, char *why,
                    size_t why_size);
int fake_srat_ranges(const struct acpi_header *srat, struct node_range *out, u32 max, u32 *count, char *why,
                     size_t why_size);
u32 fake_srat_max_ranges(const struct acpi_header *srat);
u32 fake_srat_node(const struct acpi_header *srat, u32 apic_id);
#define MULLION_VERSION "test"
#include "boot/main.c"

#define MBI_AT  0x20000ull /* below 1 MiB, which boot gives to nobody */
#define ROOT_AT 0x40000ull
#define CPUS    3u
#define HIGH    GIB(64)

static bool has_numa; /* the machine's, by the test */

int fake_acpi_parse(const void *rsdp, u64 bytes, const struct acpi_mem *mem, struct host_acpi *out, char *why,
                    size_t why_size) {
    static const struct acpi_header srat;

    (void)rsdp, (void)bytes, (void)mem, (void)why, (void)why_size;
    out->cpus_seen = out->cpu_count = CPUS;
    out->lapic_address = FAKE_LAPIC_PA;
    out->srat = has_numa ? &srat : NULL;
    for (u32 i = 0; i < out->cpu_max; i++) out->cpus[i] = (struct host_cpu){.apic_id = i};
    return 0;
}
u32 fake_srat_max_ranges(const struct acpi_header *srat) { return srat ? 2 : 0; }
int fake_srat_ranges(const struct acpi_header *srat, struct node_range *out, u32 max, u32 *count, char *why,
                     size_t why_size) {
    (void)srat, (void)why, (void)why_size;
    for (u32 i = 0; i < max; i++) out[i] = (struct node_range){MIB(i), MIB(1), i};
    *count = max;
    return 0;
}
u32 fake_srat_node(const struct acpi_header *srat, u32 apic_id) { return srat ? apic_id & 1 : 0; }

u64 clock_calibrate(const struct host_acpi *a, const char **source) {
    *source = a ? "fake" : "";
    return FAKE_TSC_HZ;
}
u64 clock_wall_seconds(void) { return 0; }
void lapic_setup(u64 address, bool allow_x2apic, bool allow_deadline) {
    (void)address, (void)allow_x2apic, (void)allow_deadline;
}
bool lapic_has_deadline(void) { return true; }
void lapic_enable(void) {}
void lapic_timer_calibrate(u64 tsc_hz) { (void)tsc_hz; }
void ioapic_setup(const struct host_acpi *a) { (void)a; }
void console_open(struct boot_info *boot, const void *mbi) {
    (void)mbi;
    (void)uart_init(0x3f8, NULL);
    boot->console[CONSOLE_UART] = (struct boot_window){0};
}
void console_open_high(struct boot_info *boot, bool (*reach_at)(u64 at, u64 bytes)) {
    (void)boot;
    if (!reach_at(HIGH, PAGE_4K)) abort();
}
void smp_start(struct boot_info *boot, hpa_t page) {
    if (page.v < PAGE_4K || page.v >= START_PAGE_LIMIT) abort();
    for (boot->core_count = 0; boot->core_count < CPUS; boot->core_count++)
        boot->cores[boot->core_count].apic_id = boot->core_count;
}

void fake_core_start(struct boot_info *boot) {
    if (boot->core_count != CPUS || boot->module_count != 1 || strcmp(boot->modules[0].name, "guest") != 0) abort();
    if (has_numa && (boot->numa.range_count != 2 || boot->numa.core_nodes[1] != 1)) abort();
    machine_stop(STOP_SCRIPT);
}

static u8 *put(u8 *at, u32 type, const void *body, u32 bytes) {
    memcpy(at, (const u32[]){type, 8 + bytes}, 8);
    memcpy(at + 8, body, bytes);
    return at + align_up(8 + bytes, 8);
}

static void make_mbi(u64 ram) {
    u8 *mbi = (u8 *)(MBI_AT + DIRECT_BASE), *at = mbi + 8;
    const struct __attribute__((packed)) {
        u32 entry_bytes, version;
        struct {
            u64 base, bytes;
            u32 type, zero;
        } part[2];
    } map = {24, 0, {{0, 0x9f000, 1, 0}, {MIB(1), ram, 1, 0}}};
    const struct __attribute__((packed)) {
        u32 start, end;
        char name[6];
    } module = {0x30000, 0x31000, "guest"};

    at = put(at, MB2_TAG_MEMORY_MAP, &map, sizeof(map));
    at = put(at, MB2_TAG_MODULE, &module, sizeof(module));
    at = put(at, 14, "RSD PTR ............", 20);
    at = put(at, 0, "", 0);
    memcpy(mbi, (const u32[]){(u32)(at - mbi), 0}, 8);
}

static void in_child(const void *what, int out) {
    volatile int why;

    hardware_make();
    fake_hw.cr3 = ROOT_AT;
    make_mbi(*(const u64 *)what);
    why = setjmp(machine_out);
    if (!why) boot_main(MBI_AT, MIB(32));
    child_end(out, (enum stop)why);
}

/* Pages that each of them takes: list of modules, three tables, processors, cores; with nodes their ranges, and the
 * cores' nodes. */
static void ends_at_each(u32 wanted) {
    for (u64 pages = 0; pages <= wanted; pages++) {
        const u64 ram = pages * PAGE_4K;

        child_run(in_child, &ram);
        if (pages == wanted) {
            if (outcome != STOP_SCRIPT) fail_msg("it does not go on: %s", console);
            return;
        }
        assert_int_equal(STOP_HALT, outcome);
        if (!strstr(console, "mullion: cannot start: too little memory: ") ||
            !strstr(console, "below 4 GiB for tables") ||
            !strstr(console, "mullion: remedy: give the machine more memory") || strstr(console, "panic"))
            fail_msg("%u pages: %s", (u32)pages, console);
    }
}

static void test_allocations(void **state) {
    (void)state;
    ends_at_each(6);
    has_numa = true;
    ends_at_each(8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_allocations)};

    return cmocka_run_group_tests_name("boot main", tests, NULL, NULL);
}
