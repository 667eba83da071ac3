/* From the multiboot2 information to struct boot_info. Boot core, on the page tables of boot.S: the first 4 GiB lie at
 * DIRECT_BASE. */
#include "boot/boot.h"

#include "boot/multiboot2.h"
#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "drivers/clock.h"
#include "drivers/descriptors.h"
#include "drivers/ioapic.h"
#include "drivers/lapic.h"
#include "drivers/srat.h"
#include "mm/pagetable.h"

#define MAX_FREE_RANGES  1024
#define LOW_MEMORY       MIB(1)
#define START_PAGE_LIMIT 0x9f000 /* below the EBDA of any BIOS worth the name */

static struct frame_range free_ranges[MAX_FREE_RANGES];
static struct frames frames = {.ranges = free_ranges, .max = MAX_FREE_RANGES};
static struct frame_range all_ranges[MAX_FREE_RANGES] __attribute__((section(".late")));
static struct frames memory __attribute__((section(".late"))) = {.ranges = all_ranges, .max = MAX_FREE_RANGES};
static struct host_acpi acpi __attribute__((section(".late")));
static struct boot_info info __attribute__((section(".late")));
/* Until the boot core has local pages like every other. */
static struct core_descriptors descriptors __attribute__((section(".late")));
static u8 fault_stack[4096] __attribute__((section(".late"), aligned(16)));

static void *direct(u64 at) { return (void *)(at + DIRECT_BASE); }

static const void *acpi_map(void *ctx, hpa_t at, u64 bytes) {
    (void)ctx;
    return at.v < GIB(4) && bytes <= GIB(4) - at.v ? direct(at.v) : NULL;
}

/* Takes `bytes` for boot's own lasting data. */
static void *take(u64 bytes) {
    hpa_t at;

    if (frames_alloc(&frames, align_up(bytes, PAGE_4K), PAGE_4K, LOW_MEMORY, GIB(4), &at))
        refuse("too little memory: %llu KiB are needed below 4 GiB for tables|give the machine more memory",
               (unsigned long long)bytes >> 10);
    memset(direct(at.v), 0, align_up(bytes, PAGE_4K));
    return direct(at.v);
}

static int take_table(void *ctx, hpa_t *page) {
    (void)ctx;
    *page = hpa((u64)take(PAGE_4K) - DIRECT_BASE);
    return 0;
}

static u64 *table_virt(void *ctx, hpa_t page) {
    (void)ctx;
    return direct(page.v);
}

/* Maps machine memory above 4 GiB, in the tables of boot.S. False if there are no such addresses. */
static bool reach(u64 at, u64 bytes) {
    static const struct pt_mem mem = {.alloc = take_table, .virt = table_virt};
    const u64 base = align_down(at, PAGE_4K), end = align_up(at + bytes, PAGE_4K);
    struct pt pt = {.format = &pt_host, .mem = &mem, .root = hpa(read_cr3()), .max_leaf = 2};

    return pt_map(&pt, base + DIRECT_BASE, hpa(base), end - base, RIGHT_READ | RIGHT_WRITE, MEM_UC) == 0;
}

static void too_many_pieces(void) {
    refuse("the firmware's memory map has more than %u pieces|report this machine", MAX_FREE_RANGES);
}

static void reserve(u64 base, u64 bytes) {
    if (frames_reserve(&frames, base, bytes)) too_many_pieces();
}

static void collect_memory(const void *mbi, u64 mbi_at, u64 mbi_bytes) {
    const struct mb2_tag *map = mb2_find(mbi, MB2_TAG_MEMORY_MAP, NULL);
    struct mb2_memory_sum sum;

    if (!map) refuse("the boot loader gave no memory map|boot with GRUB 2 by the multiboot2 command");
    if (mb2_collect_memory(map, DIRECT_BYTES, &frames, &memory, &sum)) too_many_pieces();
    info.memory_top = sum.top;
    if (sum.beyond)
        log_line("boot: %llu MiB of memory above 127 TiB are not used", (unsigned long long)sum.beyond >> 20);
    /* cppcheck-suppress comparePointers ; both are ends of one image, from linker.ld */
    reserve(info.image.v, (u64)(image_end - image_start));
    reserve(mbi_at, mbi_bytes);
}

/* Calls for each module: counts and reserves first, then lists. */
static u32 walk_modules(const void *mbi, struct boot_module *out) {
    const struct mb2_tag *tag = NULL;
    struct mb2_module m;
    u32 count = 0;

    while ((tag = mb2_find(mbi, MB2_TAG_MODULE, tag))) {
        if (mb2_module(tag, &m)) continue;
        if (out)
            out[count] = (struct boot_module){m.string, m.start, m.bytes};
        else
            reserve(m.start.v, m.bytes);
        count++;
    }
    return count;
}

static void collect_modules(const void *mbi) {
    struct boot_module *out;

    info.module_count = walk_modules(mbi, NULL);
    out = take((info.module_count + 1) * sizeof(*out));
    walk_modules(mbi, out);
    info.modules = out;
}

static void read_acpi(const void *mbi) {
    const struct acpi_mem mem = {.map = acpi_map};
    u64 bytes;
    const void *rsdp = mb2_rsdp(mbi, &bytes);
    char why[160];

    if (!rsdp) refuse("the boot loader found no ACPI root table|enable ACPI in the firmware");
    acpi.cpu_max = 0;
    acpi.cpus = NULL;
    /* First to count the cores, then to list them. */
    for (u32 pass = 0; pass < 2; pass++) {
        if (host_acpi_parse(rsdp, bytes, &mem, &acpi, why, sizeof(why)))
            refuse("acpi: %s|update the firmware; the machine's tables must be valid", why);
        if (pass == 0) {
            u32 seen = acpi.cpus_seen;

            acpi = (struct host_acpi){.cpus = take(seen * sizeof(struct host_cpu)), .cpu_max = seen};
        }
    }
}

/* After the cores are known. A machine without SRAT has no nodes. */
static void read_numa(void) {
    struct node_range *ranges;
    u32 *nodes, max;
    char why[120];

    if (acpi.affinity_why[0])
        log_line("acpi: %s; NUMA %s are not known", acpi.affinity_why, acpi.srat ? "distances" : "nodes");
    if (!acpi.srat) return;
    max = srat_max_ranges(acpi.srat);
    ranges = take((max + 1) * sizeof(*ranges));
    if (srat_ranges(acpi.srat, ranges, max, &info.numa.range_count, why, sizeof(why))) {
        log_line("acpi: %s; NUMA nodes are not known", why);
        return;
    }
    nodes = take(info.core_count * sizeof(*nodes));
    for (u32 i = 0; i < info.core_count; i++) nodes[i] = srat_node(acpi.srat, info.cores[i].apic_id);
    info.numa.ranges = ranges;
    info.numa.core_nodes = nodes;
    info.numa.core_count = info.core_count;
    if (acpi.slit) info.numa.distances = slit_distances(acpi.slit, &info.numa.localities);
}

static hpa_t find_start_page(void) {
    hpa_t page;

    /* Page 0 holds the real-mode vectors and the BIOS data area. */
    if (frames_alloc(&frames, PAGE_4K, PAGE_4K, PAGE_4K, START_PAGE_LIMIT, &page))
        refuse("no free page below 640 KiB to start the other cores|report this machine");
    return page;
}

/* What only loglevel=debug shows. */
static void log_details(const void *mbi) {
    const struct mb2_tag *map = mb2_find(mbi, MB2_TAG_MEMORY_MAP, NULL);
    struct mb2_memory m;

    for (u32 i = 0; map && mb2_memory(map, i, &m) == 0; i++)
        log_line(LOG_DEBUG "boot: memory 0x%llx-0x%llx type %u", (unsigned long long)m.base,
                 (unsigned long long)(m.base + m.bytes - 1), m.type);
    for (u32 i = 0; i < info.module_count; i++)
        log_line(LOG_DEBUG "boot: module %s, %llu bytes at 0x%llx", info.modules[i].name,
                 (unsigned long long)info.modules[i].bytes, (unsigned long long)info.modules[i].at.v);
    log_line(LOG_DEBUG "boot: image at 0x%llx", (unsigned long long)info.image.v);
    for (u32 i = 0; i < info.core_count; i++)
        log_line(LOG_DEBUG "boot: core %u has local APIC id %u", i, info.cores[i].apic_id);
    for (u32 i = 0; i < acpi.ioapic_count; i++)
        log_line(LOG_DEBUG "boot: I/O APIC %u at 0x%llx, lines from %u on", acpi.ioapics[i].id,
                 (unsigned long long)acpi.ioapics[i].address, acpi.ioapics[i].gsi_base);
    log_line(LOG_DEBUG "boot: local APIC timer: %s", lapic_has_deadline() ? "tsc deadline" : "one-shot");
}

static void fault(struct trap_frame *f) {
    panic("exception %llu, error code 0x%llx, rip 0x%llx, cr2 0x%llx, at start", (unsigned long long)f->vector,
          (unsigned long long)f->error, (unsigned long long)f->rip, (unsigned long long)read_cr2());
}

/* What the command line says, before the first line is printed: on which console, and which lines. */
static void read_options(const void *mbi, bool valid) {
    char why[400] = "";
    int rc = options_parse(valid ? mb2_cmdline(mbi) : "", &info.options, why, sizeof(why));

    info.acpi = &acpi;
    log_set_level(info.options.level);
    console_open(&info, valid ? mbi : NULL);
    log_line("mullion: version %s", MULLION_VERSION);
    if (!valid) refuse("the boot loader's information is malformed|boot with GRUB 2 by the multiboot2 command");
    if (rc) refuse("%s", why);
}

void boot_main(u64 mbi_at, u64 image) {
    const void *mbi = direct(mbi_at);
    const char *source = "";
    u64 total = 0;

    descriptors_setup(fault);
    descriptors_load(&descriptors, (u64)(fault_stack + sizeof(fault_stack)));
    read_options(mbi, mb2_check(mbi, MIB(64), &total) == 0);
    info.image = hpa(image);
    collect_memory(mbi, mbi_at, total);
    collect_modules(mbi);
    if (info.console[CONSOLE_SCREEN].bytes) /* whatever the memory map says */
        reserve(info.console[CONSOLE_SCREEN].at, info.console[CONSOLE_SCREEN].bytes);
    console_open_high(&info, reach);
    hpa_t start = find_start_page(); /* not before all that is there has been reserved */
    reserve(0, LOW_MEMORY);
    read_acpi(mbi);

    info.tsc_hz = clock_calibrate(&acpi, &source);
    if (!info.tsc_hz)
        refuse("no clock to measure the time-stamp counter with|enable the ACPI PM timer, HPET or PIT in the firmware");
    info.wall_clock = clock_wall_seconds();
    log_line("boot: time-stamp counter %llu kHz, measured by %s", (unsigned long long)info.tsc_hz / 1000, source);
    if (acpi.lapic_address >= GIB(4))
        refuse("acpi: the local APIC lies at 0x%llx, above 4 GiB|update the firmware",
               (unsigned long long)acpi.lapic_address);
    lapic_setup(acpi.lapic_address, !info.options.no_x2apic, !info.options.no_tsc_deadline);
    lapic_enable();
    if (!(cpuid(1, 0).edx & BIT(9))) /* SDM Vol 3A, Enabling or Disabling the Local APIC: not before that */
        refuse("this processor has no local APIC|use one that has it; in an emulator choose a CPU model with it");
    lapic_timer_calibrate(info.tsc_hz);
    ioapic_setup(&acpi);
    info.frames = &frames;
    info.memory = &memory;
    info.cores = take((acpi.cpu_count + 1) * sizeof(struct boot_core));
    smp_start(&info, start);
    read_numa();
    log_line("boot: %u cores, %s, %llu MiB free", info.core_count, lapic_is_x2apic() ? "x2apic" : "xapic",
             (unsigned long long)frames_free_bytes(&frames) >> 20);
    log_details(mbi);
    core_start(&info);
}
