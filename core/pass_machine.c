/* The machine's side of passthrough: what functions there are, the IOMMU, who owns which. Boot core, before start. */
#include "core/passthrough.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/hostspace.h"
#include "core/machine.h"
#include "core/pass_impl.h"
#include "core/pci_names.h"
#include "drivers/ioapic.h"
#include "drivers/lapic.h"
#include "drivers/pci.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_vf.h"

struct pass_machine pass __attribute__((section(".late")));

static void *take_shared(u64 bytes) {
    void *at = hostspace_take(bytes);

    hostspace_share_devices(hostspace_pa(at).v, bytes, MEM_WB);
    return at;
}

static void share_registers(u64 address, u64 bytes) {
    if (pass.register_count < ARRAY_SIZE(pass.registers))
        pass.registers[pass.register_count++] = (struct frame_range){address, bytes};
    hostspace_share_devices(address, bytes, MEM_UC);
}

static bool buses_behind(u32 id, u8 *first, u8 *last) {
    for (u32 i = 0; i < pass.count; i++)
        if (pass.functions[i].id == id && pass.functions[i].secondary) {
            *first = pass.functions[i].secondary;
            *last = pass.functions[i].subordinate;
            return true;
        }
    return false;
}

static u32 physical(u32 id) {
    for (u32 i = 0; i < pass.count; i++)
        if (pass.functions[i].id == id && pass.functions[i].virtual) return pass.functions[i].physical;
    return id;
}

static u32 requester(u32 id) {
    for (u32 i = 0; i < pass.count; i++)
        if (pass.functions[i].id == id) return pass.functions[i].requester;
    return id;
}

static void setup_iommu(void) {
    const struct host_acpi *acpi = machine.boot->acpi;
    const struct iommu_ops *ops = acpi->iommu_amd ? &amdvi_ops : &vtd_ops;
    const struct iommu_env env = {take_shared, share_registers, buses_behind, lapic_is_x2apic(), physical, requester};
    char summary[160];

    fmt(pass.why, sizeof(pass.why), "%s", acpi->iommu_why[0] ? acpi->iommu_why : "the machine has no IOMMU");
    if (machine.boot->options.no_iommu) {
        fmt(pass.why, sizeof(pass.why), "noiommu stands on the command line");
        log_line(LOG_WARN "iommu: not used: %s%s", pass.why, acpi->iommu ? "" : ", and the machine has none");
        return;
    }
    if (acpi->iommu && ops->setup(acpi->iommu, &env, summary, sizeof(summary), pass.why, sizeof(pass.why)) == 0) {
        pass.iommu = ops;
        if (ioapic_set_remapping(ops)) log_line(LOG_WARN "%s: WARNING: the I/O APIC is not behind it", ops->name);
        log_line("%s: %s", ops->name, summary);
    } else if (acpi->iommu || acpi->iommu_why[0]) {
        log_line(LOG_WARN "iommu: not used: %s", pass.why);
    }
}

/* --- who owns what --- */

/* What carries or translates the traffic of others: bridges of any kind, an IOMMU (PCI Code and ID Assignment). */
bool pass_is_shared(const struct pci_function *f) {
    return f->header != 0 || f->class_code >> 16 == 0x06 || f->class_code >> 8 == 0x0806;
}

/* seen: functions of this kind so far. */
static bool matches(const struct config_range *c, const struct pci_function *f, u32 *seen) {
    u64 key = c->base & BIT(63) ? CONFIG_PCI_DEVICE(f->vendor, f->device) : f->id;

    if ((c->base & BIT(63)) && (c->base & ~0xffffull) == key) key += (*seen)++;
    return key - c->base < c->bytes;
}

static void refuse_pci(const struct config_range *c, const char *what, const char *remedy) {
    refuse("%s:%u:%u: pci: %s|%s", machine.boot->options.config, c->at.line, c->at.column, what, remedy);
}

/* Is the hypervisor's console in it? */
static bool has_console(const struct pci_function *f) {
    const struct boot_info *b = machine.boot;
    const struct boot_window *screen = &b->console[CONSOLE_SCREEN];

    if (b->options.console.uart == UART_PCI && b->options.console.at == f->id) return true;
    if (!b->options.console.screen || !screen->bytes) return false;
    if (screen->at < MIB(1)) return f->class_code >> 8 == 0x0300; /* a VGA's text memory has no BAR */
    for (u32 i = 0; i < PCI_BARS; i++)
        if (!f->bars[i].io && ranges_overlap(f->bars[i].base, f->bars[i].bytes, screen->at, screen->bytes)) return true;
    return false;
}

static void give(u32 partition, const struct config_range *c) {
    u32 seen = 0, given = 0;
    char what[120], name[16];

    for (u32 i = 0; i < pass.count; i++) {
        const struct pci_function *f = &pass.functions[i];

        if (!matches(c, f, &seen)) continue;
        pci_name(name, sizeof(name), f->id);
        if (pass_is_shared(f)) {
            if (c->bytes == 1) {
                fmt(what, sizeof(what), "%s is a bridge or an IOMMU, which serves others as well", name);
                refuse_pci(c, what, "name functions that are devices");
            }
            continue;
        }
        if (has_console(f)) {
            fmt(what, sizeof(what), "%s is the hypervisor's console", name);
            refuse_pci(c, what, "leave it out, or choose another console on the command line");
        }
        if (pass.owner[i] && pass.owner[i] != partition + 1) {
            fmt(what, sizeof(what), "%s belongs to partition %s already", name,
                machine.config->partitions[pass.owner[i] - 1].name);
            refuse_pci(c, what, "remove it from one of the two lists: each function has one owner");
        }
        pass.owner[i] = (u8)(partition + 1);
        pass.grant[i] = c;
        given++;
    }
    if (!given)
        refuse_pci(c, "the machine has no such function",
                   "put mullion.inventory behind mullion.elf: it lists those that there are");
}

/* Two owners in one group could reach each other's devices, and through them memory. */
static void check_groups(const struct config *config) {
    for (u32 i = 0; i < pass.count; i++) {
        bool told = false;

        for (u32 k = 0; k < i; k++) {
            char a[16], b[16], what[160];

            if (!pass.owner[i] || !pass.owner[k]) continue;
            if (pass.grant[i]->gsi && pass.grant[i]->gsi == pass.grant[k]->gsi)
                refuse_pci(pass.grant[i], "this interrupt line is another function's already",
                           "name it once; functions with MSI or MSI-X do without");
            if (pass.owner[i] == pass.owner[k]) continue;
            if (pass.functions[i].group != pass.functions[k].group) continue;
            pci_name(a, sizeof(a), pass.functions[k].id);
            pci_name(b, sizeof(b), pass.functions[i].id);
            fmt(what, sizeof(what), "%s and %s can reach each other without the IOMMU, yet belong to %s and %s", a, b,
                config->partitions[pass.owner[k] - 1].name, config->partitions[pass.owner[i] - 1].name);
            if (config->partitions[pass.owner[i] - 1].groups_split &&
                config->partitions[pass.owner[k] - 1].groups_split) {
                if (!told) log_line(LOG_WARN "pci: WARNING: pci-groups = \"split\": %s", what);
                told = true;
                continue;
            }
            refuse_pci(pass.grant[i], what,
                       "give both to one partition; or set pci-groups = \"split\" in both: each can "
                       "then harm the other");
        }
    }
}

/* Bridges above functions that are given away let everything through, memory and messages upward too. */
static void open_bridges(void) {
    const u32 wanted = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

    for (u32 i = 0; i < pass.count; i++) {
        const struct pci_function *f = pass.owner[i] ? &pass.functions[i] : NULL;

        for (u32 depth = 0; f && depth < pass.count; depth++) {
            f = pci_parent(pass.functions, pass.count, f);
            if (f)
                pci_machine.write(NULL, f->id, PCI_REG_COMMAND, 2,
                                  pci_machine.read(NULL, f->id, PCI_REG_COMMAND, 2) | wanted);
        }
    }
}

void pass_features(char *out, size_t size, const struct pci_function *f, const char *separator) {
    const bool by_power = !f->header && !f->flr && pci_reset_way(f, NULL);
    const char *const names[] = {f->msi ? "msi" : "", f->msix ? "msi-x" : "",     f->flr ? "flr" : "",
                                 f->pm ? "pm" : "",   by_power ? "pm-reset" : "", f->pcie ? "express" : "",
                                 f->acs ? "acs" : "", f->header ? "bridge" : ""};
    size_t at = 0;

    out[0] = 0;
    for (u32 i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i][0]) at += fmt(out + at, size - at, "%s%s", separator, names[i]);
    if (f->sriov)
        fmt(out + at, size - at, "%ssr-iov %u", separator, pci_machine.read(NULL, f->id, f->sriov + SRIOV_TOTAL, 2));
}

/* names: NULL if nobody knows them. Of names that are too long for the line their end is left out. */
static void log_function(const struct pci_function *f, const char *owner, const struct pci_ids_entry *names) {
    char name[16], group[16], features[80], before[80], behind[160], known[LOG_LINE] = "";
    size_t used;

    pci_name(name, sizeof(name), f->id);
    pci_name(group, sizeof(group), f->group);
    pass_features(features, sizeof(features), f, ", ");
    used = fmt(before, sizeof(before), "pci: %s %s [%04x]: ", name, pci_class_name(f->class_code), f->class_code >> 8);
    used += fmt(behind, sizeof(behind), "[%04x:%04x] (rev %02x), group %s%s%s%s", f->vendor, f->device, f->revision,
                group, features, owner ? ", owner " : "", owner ? owner : "");
    if (names && used < LOG_LINE - 2) pci_ids_text(names, true, known, LOG_LINE - 1 - used);
    log_line("%s%s%s%s", before, known, known[0] ? " " : "", behind);
}

static void log_functions(void) {
    const struct pci_ids_entry *names = pci_names_find(pass.functions, pass.count);

    for (u32 i = 0; i < pass.count; i++)
        log_function(&pass.functions[i], pass.owner[i] ? machine.config->partitions[pass.owner[i] - 1].name : NULL,
                     names ? &names[i] : NULL);
}

/* MCFG may name an address at which something else lies: on bus 0 it must show what the ports show, if they show
 * anything. */
static void choose_access(const struct host_acpi *acpi) {
    u32 ids[32];

    pci_setup(acpi, false);
    for (u32 i = 0; i < ARRAY_SIZE(ids); i++) ids[i] = pci_machine.read(NULL, i << 3, PCI_REG_VENDOR, 4);
    pci_setup(acpi, true);
    for (u32 i = 0; i < ARRAY_SIZE(ids); i++) {
        if (ids[i] == ~0u || pci_machine.read(NULL, i << 3, PCI_REG_VENDOR, 4) == ids[i]) continue;
        log_line("pci: the table MCFG does not lead to the functions that ports 0xcf8 and 0xcfc show: not used");
        pci_setup(acpi, false);
        return;
    }
}

void passthrough_discover(void) {
    for (u32 i = 0; i < machine.boot->acpi->mcfg_count; i++) {
        const struct host_mcfg *m = &machine.boot->acpi->mcfg[i];

        hostspace_reach(m->address + ((u64)m->first << 20), (u64)(m->last - m->first + 1) << 20, MEM_UC);
    }
    choose_access(machine.boot->acpi);
    pass.count = pci_discover(NULL, 0);
    pass.functions = hostspace_take((pass.count + 1) * sizeof(*pass.functions));
    pass.count = (u32)min_u64(pci_discover(pass.functions, pass.count), pass.count);
    setup_iommu();
}

void passthrough_setup(const struct config *config) {
    bool wanted = false;

    for (u32 i = 0; i < config->partition_count; i++) wanted |= config->partitions[i].pci_count != 0;
    for (u32 i = 0; i < config->sriov_count; i++) pass_enable_vfs(&config->sriov[i]);
    pass.owner = hostspace_take(pass.count + 1);
    hostspace_share(pass.functions, (pass.count + 1) * sizeof(*pass.functions), false);
    hostspace_share(pass.owner, pass.count + 1, false);
    pass.stop = take_shared(config->partition_count + 1);
    pass.told = take_shared((config->partition_count + 1) * sizeof(*pass.told));
    pass.refused = take_shared((pass.count + 1) * sizeof(*pass.refused));
    pass.grant = hostspace_take((pass.count + 1) * sizeof(*pass.grant));
    for (u32 i = 0; i < config->partition_count; i++)
        for (u32 k = 0; k < config->partitions[i].pci_count; k++) give(i, &config->partitions[i].pci[k]);
    if (wanted) log_functions();
    check_groups(config);
    open_bridges();
}

void passthrough_publish(void) {
    if (pass.iommu) pass.iommu->publish();
}
