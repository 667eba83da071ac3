#include "core/inventory.h"

#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/machine.h"
#include "core/pass_impl.h"

/* PCI Code and ID Assignment Specification, Class Codes: base classes. */
static const char *class_name(u32 class_code) {
    static const char *const names[] = {"device",  "storage",   "network",    "display", "multimedia",
                                        "memory",  "bridge",    "serial",     "system",  "input",
                                        "docking", "processor", "serial bus", "wireless"};
    u32 base = class_code >> 16;

    return base < sizeof(names) / sizeof(names[0]) ? names[base] : "other";
}

static void print_function(const struct pci_function *f) {
    char name[16], group[16];

    pci_name(name, sizeof(name), f->id);
    pci_name(group, sizeof(group), f->group);
    log_line("#: pci %s %04x:%04x class %06x group %s%s%s%s%s%s # %s", name, f->vendor, f->device, f->class_code, group,
             f->msi ? " msi" : "", f->msix ? " msi-x" : "", f->flr ? " flr" : "", f->pm ? " pm" : "",
             f->header ? " bridge" : "", class_name(f->class_code));
    for (u32 i = 0; i < PCI_BARS; i++)
        if (f->bars[i].bytes)
            log_line("#: bar %s %u %s 0x%llx 0x%llx", name, i,
                     f->bars[i].io     ? "io"
                     : f->bars[i].wide ? "mem64"
                                       : "mem32",
                     (unsigned long long)f->bars[i].base, (unsigned long long)f->bars[i].bytes);
}

/* One entry for each device that could be given away; commented out, so that the file boots as it stands. */
static void print_choices(void) {
    log_line("# pci = [ # whole groups at a time; pci-reset = \"optional\" for those without flr or pm");
    for (u32 i = 0; i < pass.count; i++) {
        const struct pci_function *f = &pass.functions[i];
        char name[16];

        if (pass_is_shared(f)) continue;
        pci_name(name, sizeof(name), f->id);
        log_line("#     \"%s\", # %04x:%04x %s", name, f->vendor, f->device, class_name(f->class_code));
    }
    log_line("# ]");
}

void inventory_print(void) {
    const struct boot_info *b = machine.boot;
    u32 last = b->core_count - 1;

    log_line("#: begin");
    log_line("#: cores %u", b->core_count);
    for (u32 i = 0; i < b->core_count; i++) log_line("#: core %u apic %u", i, b->cores[i].apic_id);
    for (u32 i = 0; i < b->frames->count; i++)
        log_line("#: memory 0x%llx 0x%llx", (unsigned long long)b->frames->ranges[i].base,
                 (unsigned long long)b->frames->ranges[i].bytes);
    log_line("#: vendor %s: %s", machine.vendor->name, machine.caps.summary);
    if (pass.iommu)
        log_line("#: iommu %s%s", pass.iommu->name, pass.iommu->remaps_interrupts() ? " interrupts" : "");
    else
        log_line("#: iommu none: %s", pass.why);
    for (u32 i = 0; i < pass.count; i++) print_function(&pass.functions[i]);
    log_line("[machine]");
    log_line("console = \"com1\"");
    log_line("[partition.first]");
    log_line(last ? "cpus = [0] # there are 0 to %u" : "cpus = [0] # there is no other", last);
    log_line("memory = \"64M\" # %llu MiB are free", (unsigned long long)frames_free_bytes(b->frames) >> 20);
    log_line("kernel = \"vmlinuz\" # the name of a GRUB module");
    log_line("# initrd = \"initrd\"");
    log_line("# cmdline = \"console=ttyS0\"");
    print_choices();
    log_line("#: end");
}
