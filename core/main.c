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
#include "core/cores.h"
#include "core/hostspace.h"
#include "core/inventory.h"
#include "core/local.h"
#include "core/machine.h"
#include "core/traps.h"
#include "drivers/power.h"
#include "drivers/screen.h"
#include "drivers/uart.h"

#define LONGEST_RUN_PER_SECOND 100 /* a request from another core is seen within 10 ms */

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
    machine.caps.avoid_timer = machine.boot->options.no_preemption_timer;
    if (machine.vendor->probe(&machine.caps, why, sizeof(why))) refuse("%s", why);
    if (machine.boot->options.no_large_pages) machine.caps.max_leaf = 1;
    log_line("%s: %s", machine.vendor->name, machine.caps.summary);
    if (machine.caps.multihit && machine.caps.max_leaf > 1)
        log_line(LOG_WARN "%s: WARNING: a guest may be able to stop this processor by a change of page size "
                          "(CVE-2018-12207); no-large-pages on the command line prevents it",
                 machine.vendor->name);
}

/* --- the file --- */

static const struct boot_module *find_config(void) {
    const char *name = machine.boot->options.config;
    const struct boot_module *m = build_find_module(name);

    if (m) return m;
    refuse("there is no module named %s|add a line `module2 /boot/%s %s` to grub.cfg", name, name, name);
}

static void refuse_file(const struct config_error *e) {
    refuse("%s:%u:%u: %s|%s", machine.boot->options.config, e->line, e->column, e->what, e->remedy);
}

static void read_config(void) {
    const struct boot_module *m = find_config();
    struct arena arena = {.size = align_up(CONFIG_ARENA_BYTES(m->bytes), PAGE_4K)};
    const char **names = hostspace_take((machine.boot->module_count + 1) * sizeof(*names));
    struct config_machine offer = {.cpu_count = machine.boot->core_count,
                                   .modules = names,
                                   .file = machine.boot->options.config,
                                   .numa = &machine.boot->numa};
    struct config_error error;
    struct config *config;
    int code;

    arena.base = hostspace_take(arena.size);
    for (u32 i = 0; i < machine.boot->module_count; i++) names[offer.module_count++] = machine.boot->modules[i].name;
    code = config_parse(&arena, (const char *)(m->at.v + DIRECT_BASE), m->bytes, &config, &error);
    if (code) refuse_file(&error);
    if (!machine.boot->options.console.given) console_setup(config->console);
    if (machine.boot->options.console.given) offer.console = uart_port();
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

static void prepare_core(u32 core) {
    struct local *local;
    struct vcpu *v;
    struct partition *p = partition_of(core, &v);
    hpa_t vendor_page;

    machine.boot->cores[core].cr3 = hostspace_core(p, (void **)&local, &vendor_page);
    local->core = core;
    local->vcpu = p && p->over ? NULL : v;
    local->vendor_page_pa = vendor_page;
}

/* --- start --- */

/* How many partitions can run. */
static u32 build_all(void) {
    u32 count = machine.config->partition_count, alive = 0;
    struct console_input *inputs = hostspace_take(count * sizeof(*inputs)), *focus = inputs;
    struct image_error error = {0};
    const char *failed = NULL;
    u64 now;

    hostspace_share(inputs, count * sizeof(*inputs), true);
    machine.partitions = hostspace_take(count * sizeof(*machine.partitions));
    hostspace_share(machine.partitions, count * sizeof(*machine.partitions), false);
    machine.controls = hostspace_take(count * sizeof(*machine.controls));
    hostspace_share(machine.controls, count * sizeof(*machine.controls), false);
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

        p->tsc_start = now;
        if (!p->over && partition_load(p, &error)) { /* the others do not suffer from it */
            log_line(LOG_ERROR "%s: not started: %s", p->config->name, error.what);
            failed = p->config->name;
            p->over = true;
        }
        p->control->word = p->over ? CONTROL_BROKEN : CONTROL_RUNNING;
        if (p->over)
            console_input_gone(p->input, true);
        else
            alive++;
    }
    if (!alive && failed && str_starts(error.what, "module "))
        refuse("partition %s: %s|give a file of the right kind, or set `format`", failed, error.what);
    if (!alive) refuse("no partition can start|the lines above say why");
    return alive;
}

void core_start(struct boot_info *boot) {
    u32 partitions;

    machine.boot = boot;
    canary_choose();
    descriptors_setup(trap);
    hostspace_boot(boot);
    cores_protect();
    machine.tsc_hz = boot->tsc_hz;
    machine.ns_per_tsc_q32 = mul_div(1000000000, BIT(32), boot->tsc_hz);
    machine.tsc_per_ns_q32 = mul_div(boot->tsc_hz, BIT(32), 1000000000);
    choose_vendor();
    if (machine.vendor->guest_tr) descriptors_drop_fault_stack();
    machine.xcr0 = build_xcr0();
    passthrough_discover();
    if (boot->options.inventory) {
        inventory_print();
        uart_flush();
        power_off(boot->acpi);
    }
    read_config();
    passthrough_setup(machine.config);
    hostspace_share(boot->cores, boot->core_count * sizeof(*boot->cores), false);
    partitions = build_all();
    for (u32 i = 0; i < boot->core_count; i++) prepare_core(i);
    log_line("mullion: %u KiB in memory, %u KiB of them start-up code that is unmapped from here on",
             (u32)((u64)image_end - IMAGE_BASE) >> 10, (u32)((u64)init_end - IMAGE_BASE) >> 10);
    if (!boot->options.console.screen) {
        if (boot->console[CONSOLE_SCREEN].bytes)
            log_line("mullion: this screen ends here; console=com1,framebuffer would keep it");
        screen_close();
    }
    cores_release(partitions);
}
