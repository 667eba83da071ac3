#include "test/fake/boot.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"
#include "core/boot_info.h"
#include "core/hostspace.h"
#include "core/local.h"
#include "test/fake/pci.h"

#define MAX_CORES 8

struct boot_options fake_options = {.config = "mullion.toml", .console = {.uart = UART_PORT, .at = 0x3f8}};
struct boot_window fake_console[CONSOLE_WINDOWS];

static struct boot_info info;
static u32 entered; /* cores that have been started */
static u32 current;

static bool inside[MAX_CORES]; /* vCPUs of a partition whose loop is on the stack */

struct pt_lookup fake_lookup(u32 core, u64 va) {
    struct pt pt = {.format = &pt_host, .mem = &hostspace_mem, .max_leaf = 3, .root = {info.cores[core].cr3}};

    return pt_lookup(&pt, va);
}

void fake_on_core(u32 core) {
    current = core;
    fake_hw.lapic_id = info.cores[core].apic_id;
    fake_hw.cr3 = info.cores[core].cr3;
    memcpy(this_core, (void *)(fake_lookup(core, LOCAL_BASE).at.v + DIRECT_BASE), sizeof(*this_core));
}

/* Runs something on another core, nested, until it stops. */
static void elsewhere(u32 core, void (*run)(u32 core)) {
    const u32 back = current;
    const struct fake_script script = fake_script;
    volatile int why;
    jmp_buf out;

    memcpy(out, machine_out, sizeof(out));
    fake_script = (struct fake_script){0};
    why = setjmp(machine_out);
    if (!why) {
        fake_on_core(core);
        run(core);
    }
    fake_script = script;
    memcpy(machine_out, out, sizeof(out));
    fake_on_core(back);
    if (why == STOP_POWER_OFF || why == STOP_SPIN) machine_stop((enum stop)why); /* of the whole machine */
}

static void enter(u32 core) { info.cores[core].entry(core); }

static void start_next(void) {
    if (entered >= info.core_count) return;
    entered++;
    elsewhere(entered - 1, enter);
}

/* The boot core goes over to its own tables. */
void cpu_go_on(u64 cr3, u64 stack, void (*entry)(u32)) {
    if (cr3 != info.cores[0].cr3 || stack != LOCAL_STACK_TOP) abort();
    for (u32 i = 1; i < info.core_count; i++)
        if (!info.cores[i].go) abort();
    fake_hw.on_pause = start_next;
    entered = 1;
    fake_on_core(0);
    entry(0);
    abort();
}

struct numa fake_numa;
const char *fake_pci_ids;

static void free_memory(u64 ram) {
    static struct frame_range ranges[16];
    static struct frames frames = {.ranges = ranges, .max = ARRAY_SIZE(ranges)};
    static struct frame_range all[1];
    static struct frames memory_map = {.ranges = all, .max = ARRAY_SIZE(all)};

    if (frames_add(&frames, MIB(1), ram)) abort();
    info.frames = &frames;
    memory_map.count = 0;
    if (frames_add(&memory_map, 0, MIB(1) + ram)) abort();
    info.memory = &memory_map;
}

/* Behind what frames may give away. */
static hpa_t put_module(u64 at, const void *bytes, u64 count) {
    memcpy((void *)(DIRECT_BASE + at), bytes, count);
    return hpa(at);
}

struct host_acpi fake_acpi = {.ioapic_count = 1};

u32 fake_apic_gap;

enum stop fake_boot(const char *config, u32 core_count, u64 ram) {
    static struct boot_module modules[5];
    static const struct acpi_header table;
    static struct boot_core *slots;
    volatile int why;
    u8 code[64];

    if (core_count > MAX_CORES || ram > FAKE_RAM - MIB(2)) abort();
    memset(code, 0xf4, sizeof(code));
    modules[0] =
        (struct boot_module){"mullion.toml", put_module(FAKE_RAM - MIB(1), config, strlen(config)), strlen(config)};
    modules[1] = (struct boot_module){"guest", put_module(FAKE_RAM - KIB(64), code, sizeof(code)), sizeof(code)};
    modules[2] = (struct boot_module){"bad", put_module(FAKE_RAM - KIB(60), "bad", 3), 3};
    modules[3] = (struct boot_module){"rom", put_module(FAKE_RAM - KIB(800), "", 1), KIB(512)};
    if (fake_pci_ids)
        modules[4] = (struct boot_module){"pci.ids", put_module(FAKE_PCI_IDS_AT, fake_pci_ids, strlen(fake_pci_ids)),
                                          strlen(fake_pci_ids)};
    slots = (struct boot_core *)(DIRECT_BASE + FAKE_RAM - KIB(32)); /* boot takes them from memory as well */
    for (u32 i = 0; i < core_count; i++) slots[i] = (struct boot_core){.apic_id = 2 * i + (i ? fake_apic_gap : 0)};
    fake_acpi.iommu = fake_iommu.present ? &table : NULL;
    fake_acpi.ioapics[0] = (struct host_ioapic){1, 0, 0xfec00000};
    info = (struct boot_info){.modules = modules,
                              .module_count = fake_pci_ids ? 5 : 4,
                              .numa = fake_numa,
                              .acpi = &fake_acpi,
                              .cores = slots,
                              .core_count = core_count,
                              .memory_top = FAKE_RAM,
                              .options = fake_options,
                              .tsc_hz = FAKE_TSC_HZ,
                              .wall_clock = 1700000000};
    memcpy(info.console, fake_console, sizeof(info.console));
    free_memory(ram);
    why = setjmp(machine_out);
    if (!why) core_start(&info);
    fake_hw.on_pause = NULL;
    return (enum stop)why;
}

/* --- after start --- */

static void loop(u32 core) {
    (void)core;
    vcpu_loop(this_core->vcpu);
}

/* A vCPU waits for the others of its partition: one that does not stand on the stack already goes on. */
static void run_others(void) {
    struct partition *p = this_core->vcpu->partition;

    for (u32 i = 0; i < p->vcpu_count; i++) {
        if (inside[p->vcpus[i]->core]) continue;
        inside[p->vcpus[i]->core] = true;
        elsewhere(p->vcpus[i]->core, loop);
        inside[p->vcpus[i]->core] = false;
        return;
    }
}

/* A script ends in the middle of a run. */
static void end_run(struct vcpu *v) {
    if (v->hw.posted && !fake_script.posted_taken) vlapic_unack(&v->lapic, v->hw.posted);
    v->hw.posted = 0;
}

enum stop fake_play(struct vcpu *v, const struct vm_exit *exits, u32 count) {
    volatile int why;

    fake_script.exits = exits;
    fake_script.count = count;
    fake_script.at = 0;
    fake_on_core(v->core);
    memset(inside, 0, sizeof(inside));
    inside[v->core] = true;
    fake_hw.on_pause = run_others;
    why = setjmp(machine_out);
    if (!why) vcpu_loop(v);
    inside[v->core] = false;
    fake_hw.on_pause = NULL;
    for (u32 i = 0; i < v->partition->vcpu_count; i++) end_run(v->partition->vcpus[i]);
    return (enum stop)why;
}
