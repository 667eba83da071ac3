/* From boot's report to running partitions: reads the file, builds, releases the cores. Boot core, once. */
#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/boot_info.h"
#include "core/build.h"
#include "core/canary.h"
#include "core/hostspace.h"
#include "core/inventory.h"
#include "core/local.h"
#include "core/machine.h"
#include "core/traps.h"
#include "drivers/power.h"
#include "drivers/uart.h"

#define CONFIG_NAME            "mullion.toml"
#define LONGEST_RUN_PER_SECOND 100 /* a request from another core is seen within 10 ms */

struct machine machine __attribute__((section(".late")));

static u32 alive;   /* atomic: partitions that have not ended */
static u32 enabled; /* atomic: cores in host mode */

void machine_core_idle(void) {
    machine.vendor->cpu_disable();
    cpu_halt_forever();
}

void machine_partition_ended(void) {
    if (__atomic_sub_fetch(&alive, 1, __ATOMIC_ACQ_REL)) return;
    log_line("mullion: every partition has ended, powering off");
    uart_flush();
    power_off(machine.boot->acpi);
}

/* --- vendor --- */

static void choose_vendor(void) {
    char why[200];
    bool intel = cpuid(1, 0).ecx & BIT(5);
    bool amd = cpuid_has_leaf(0x80000001) && (cpuid(0x80000001, 0).ecx & BIT(2));

    if (!intel && !amd)
        refuse("this processor offers neither VMX nor SVM|switch virtualisation on in the firmware's setup; in an "
               "emulator choose a CPU model with it");
    machine.vendor = intel ? &vmx_ops : &svm_ops;
    machine.caps.longest_run = machine.tsc_hz / LONGEST_RUN_PER_SECOND;
    if (machine.vendor->probe(&machine.caps, why, sizeof(why))) refuse("%s", why);
    log_line("%s: %s", machine.vendor->name, machine.caps.summary);
}

/* --- the file --- */

static const struct boot_module *find_config(void) {
    for (u32 i = 0; i < machine.boot->module_count; i++)
        if (str_equal(machine.boot->modules[i].name, CONFIG_NAME)) return &machine.boot->modules[i];
    refuse("there is no module named " CONFIG_NAME "|add a line `module2 /boot/" CONFIG_NAME " " CONFIG_NAME
           "` to grub.cfg");
}

static void refuse_file(const struct config_error *e) {
    refuse(CONFIG_NAME ":%u:%u: %s|%s", e->line, e->column, e->what, e->remedy);
}

static void read_config(void) {
    const struct boot_module *m = find_config();
    struct arena arena = {.size = align_up(CONFIG_ARENA_BYTES(m->bytes), PAGE_4K)};
    const char **names = hostspace_take((machine.boot->module_count + 1) * sizeof(*names));
    struct config_machine offer = {.cpu_count = machine.boot->core_count, .modules = names};
    struct config_error error;
    struct config *config;
    int code;

    arena.base = hostspace_take(arena.size);
    for (u32 i = 0; i < machine.boot->module_count; i++) names[offer.module_count++] = machine.boot->modules[i].name;
    code = config_parse(&arena, (const char *)(m->at.v + DIRECT_BASE), m->bytes, &config, &error);
    if (code) refuse_file(&error);
    console_setup(config->console);
    /* Memory is checked by placing it: that knows holes and alignment as well. */
    if (config_check_machine(config, &offer, &error)) refuse_file(&error);
    machine.config = config;
    hostspace_share(arena.base, arena.size, false);
}

/* --- cores --- */

static struct partition *partition_of(u32 core, struct vcpu **vcpu) {
    for (u32 i = 0; i < machine.config->partition_count; i++)
        for (u32 k = 0; k < machine.partitions[i]->vcpu_count; k++)
            if (machine.partitions[i]->vcpus[k]->core == core) {
                *vcpu = machine.partitions[i]->vcpus[k];
                return machine.partitions[i];
            }
    *vcpu = NULL;
    return NULL;
}

/* Each core, on its own tables and stack from the first instruction. */
static noreturn_fn void core_entry(u32 core) {
    char why[200];
    struct vcpu *v = this_core->vcpu;

    (void)core;
    descriptors_load(&this_core->descriptors, LOCAL_FAULT_TOP);
    hostspace_protect();
    if (!v) cpu_halt_forever();
    if (machine.vendor->cpu_enable((void *)(LOCAL_BASE + LOCAL_VENDOR_PAGE * PAGE_4K), this_core->vendor_page_pa, why,
                                   sizeof(why)))
        refuse("core %u: %s", this_core->core, why);
    machine.vendor->vcpu_init(&v->hw);
    /* No guest runs before every core is ready. */
    if (__atomic_sub_fetch(&enabled, 1, __ATOMIC_ACQ_REL) == 0)
        log_line("mullion: all cores are in host mode, starting the partitions");
    while (__atomic_load_n(&enabled, __ATOMIC_ACQUIRE)) cpu_pause();
    if (v->partition->over) machine_core_idle();
    vcpu_start(v);
    vcpu_loop(v);
}

static void prepare_core(u32 core) {
    struct boot_core *slot = &machine.boot->cores[core];
    struct local *local;
    struct vcpu *v;
    struct partition *p = partition_of(core, &v);
    hpa_t vendor_page;

    slot->cr3 = hostspace_core(p, (void **)&local, &vendor_page);
    slot->stack = LOCAL_STACK_TOP;
    slot->entry = core_entry;
    local->core = core;
    local->vcpu = p && p->over ? NULL : v;
    local->vendor_page_pa = vendor_page;
    enabled += local->vcpu != NULL;
}

/* --- start --- */

static void build_all(void) {
    u32 count = machine.config->partition_count;
    struct console_input *inputs = hostspace_take(count * sizeof(*inputs)), *focus = inputs;
    u64 now;

    hostspace_share(inputs, count * sizeof(*inputs), true);
    machine.partitions = hostspace_take(count * sizeof(*machine.partitions));
    hostspace_share(machine.partitions, count * sizeof(*machine.partitions), false);
    for (u32 i = 0; i < count; i++) {
        const struct config_partition *c = &machine.config->partitions[i];

        machine.partitions[i] = build_partition(c, &inputs[i]);
        console_add_input(&inputs[i]);
        if (machine.config->focus && str_equal(machine.config->focus, c->name)) focus = &inputs[i];
    }
    passthrough_publish();
    console_set_focus(focus);
    now = rdtsc();
    for (u32 i = 0; i < count; i++) {
        struct partition *p = machine.partitions[i];
        struct image_error error;

        p->tsc_start = now;
        if (!p->over && partition_load(p, &error)) { /* the others do not suffer from it */
            log_line("%s: not started: %s", p->config->name, error.what);
            p->over = true;
        }
        if (p->over)
            console_remove_input(p->input);
        else
            alive++;
    }
    if (!alive) refuse("no partition can start|the lines above say why");
}

/* Until the boot core has local pages like every other. */
static struct core_descriptors boot_descriptors __attribute__((section(".late")));
static u8 boot_fault_stack[4096] __attribute__((section(".late"), aligned(16)));

void core_start(struct boot_info *boot) {
    machine.boot = boot;
    canary_choose();
    descriptors_setup(trap);
    descriptors_load(&boot_descriptors, (u64)(boot_fault_stack + sizeof(boot_fault_stack)));
    hostspace_boot(boot);
    hostspace_protect();
    machine.tsc_hz = boot->tsc_hz;
    machine.ns_per_tsc_q32 = mul_div(1000000000, BIT(32), boot->tsc_hz);
    machine.tsc_per_ns_q32 = mul_div(boot->tsc_hz, BIT(32), 1000000000);
    choose_vendor();
    if (machine.vendor->guest_tr) descriptors_drop_fault_stack();
    machine.xcr0 = build_xcr0();
    passthrough_discover();
    if (boot->inventory) {
        inventory_print();
        uart_flush();
        power_off(boot->acpi);
    }
    read_config();
    passthrough_setup(machine.config);
    hostspace_share(boot->cores, boot->core_count * sizeof(*boot->cores), false);
    build_all();
    for (u32 i = 0; i < boot->core_count; i++) prepare_core(i);
    panic_stops_others();
    for (u32 i = 1; i < boot->core_count; i++) __atomic_store_n(&boot->cores[i].go, true, __ATOMIC_RELEASE);
    cpu_go_on(boot->cores[0].cr3, boot->cores[0].stack, boot->cores[0].entry);
}
