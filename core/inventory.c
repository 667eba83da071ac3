#include "core/inventory.h"

#include "core/base/cpu.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/machine.h"
#include "core/pass_impl.h"
#include "core/pci_names.h"
#include "core/policy/topology.h"

/* The class, and what the function is called if that is known. */
static void describe(char *out, size_t size, const struct pci_function *f, const struct pci_ids_entry *names) {
    char known[PCI_IDS_NAME] = "";

    if (names) pci_ids_text(names, true, known, sizeof(known));
    fmt(out, size, "%s%s%s", pci_class_name(f->class_code), known[0] ? ": " : "", known);
}

static void print_function(const struct pci_function *f, const struct pci_ids_entry *names) {
    char name[16], group[16], features[80], what[LOG_LINE];

    pci_name(name, sizeof(name), f->id);
    pci_name(group, sizeof(group), f->group);
    pass_features(features, sizeof(features), f, " ");
    describe(what, sizeof(what), f, names);
    log_line("#: pci %s %04x:%04x class %06x group %s%s # %s", name, f->vendor, f->device, f->class_code, group,
             features, what);
    for (u32 i = 0; i < PCI_BARS; i++)
        if (f->bars[i].bytes)
            log_line("#: bar %s %u %s 0x%llx 0x%llx%s", name, i,
                     f->bars[i].io     ? "io"
                     : f->bars[i].wide ? "mem64"
                                       : "mem32",
                     (unsigned long long)f->bars[i].base, (unsigned long long)f->bars[i].bytes,
                     f->bars[i].prefetch ? " prefetch" : "");
    if (f->rom.bytes)
        log_line("#: rom %s 0x%llx 0x%llx", name, (unsigned long long)f->rom.base, (unsigned long long)f->rom.bytes);
}

/* One entry for each device that could be given away; commented out, so that the file boots as it stands. */
static void print_choices(const struct pci_ids_entry *names) {
    log_line("# pci = [ # whole groups at a time; pci-reset = \"optional\" for those without flr or pm-reset");
    for (u32 i = 0; i < pass.count; i++) {
        const struct pci_function *f = &pass.functions[i];
        char name[16], what[LOG_LINE];

        if (pass_is_shared(f)) continue;
        pci_name(name, sizeof(name), f->id);
        describe(what, sizeof(what), f, names ? &names[i] : NULL);
        log_line("#     \"%s\", # %04x:%04x %s", name, f->vendor, f->device, what);
    }
    log_line("# ]");
}

static void host_cpuid(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out) {
    struct cpuid_result r = cpuid(leaf, sub);

    (void)ctx;
    *out = (struct cpuid_regs){r.eax, r.ebx, r.ecx, r.edx};
}

/* Cores with the same number behind "physical" are threads of one. */
static void print_cores(const struct boot_info *b) {
    u32 bits = topology_smt_bits(host_cpuid, NULL);
    char node[24] = "";

    log_line("#: cores %u", b->core_count);
    for (u32 i = 0; i < b->core_count; i++) {
        u32 number = numa_node_of_core(&b->numa, i);

        if (number != NODE_NONE) fmt(node, sizeof(node), " node %u", number);
        log_line("#: core %u apic %u physical %u%s", i, b->cores[i].apic_id, b->cores[i].apic_id >> bits,
                 number != NODE_NONE ? node : "");
    }
}

/* What of a node's memory is free, the lines of "memory" tell. */
static void print_nodes(const struct numa *n) {
    for (u32 i = 0; i < n->range_count; i++)
        log_line("#: node %u 0x%llx 0x%llx", n->ranges[i].node, (unsigned long long)n->ranges[i].base,
                 (unsigned long long)n->ranges[i].bytes);
    for (u32 from = numa_next(n, NODE_NONE); from != NODE_NONE; from = numa_next(n, from))
        for (u32 to = numa_next(n, NODE_NONE); to != NODE_NONE; to = numa_next(n, to))
            if (from != to) log_line("#: distance %u %u %u", from, to, numa_distance(n, from, to));
}

void inventory_print(void) {
    const struct boot_info *b = machine.boot;
    const struct pci_ids_entry *names = pci_names_find(pass.functions, pass.count);
    u32 last = b->core_count - 1;

    log_line("#: begin");
    print_cores(b);
    print_nodes(&b->numa);
    for (u32 i = 0; i < b->frames->count; i++)
        log_line("#: memory 0x%llx 0x%llx", (unsigned long long)b->frames->ranges[i].base,
                 (unsigned long long)b->frames->ranges[i].bytes);
    log_line("#: vendor %s: %s", machine.vendor->name, machine.caps.summary);
    if (pass.iommu)
        log_line("#: iommu %s%s", pass.iommu->name, pass.iommu->remaps_interrupts() ? " interrupts" : "");
    else
        log_line("#: iommu none: %s", pass.why);
    for (u32 i = 0; i < pass.count; i++) print_function(&pass.functions[i], names ? &names[i] : NULL);
    log_line("[machine]");
    log_line("console = \"com1\"");
    log_line("[partition.first]");
    log_line(last ? "cpus = [0] # there are 0 to %u" : "cpus = [0] # there is no other", last);
    log_line("memory = \"64M\" # %llu MiB are free", (unsigned long long)frames_free_bytes(b->frames) >> 20);
    if (b->numa.range_count)
        log_line("# node = %u # memory of this node; without it, of that of the cores", b->numa.ranges[0].node);
    log_line("kernel = \"vmlinuz\" # the name of a GRUB module");
    log_line("# initrd = \"initrd\"");
    log_line("# cmdline = \"console=ttyS0\"");
    print_choices(names);
    log_line("#: end");
}
