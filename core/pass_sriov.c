/* Virtual functions that the file asks for: enabled before functions are given away. Boot core, before start. */
#include "core/pass_impl.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/hostspace.h"
#include "core/machine.h"
#include "drivers/clock.h"
#include "drivers/pci.h"
#include "drivers/pci_scan.h"
#include "drivers/pci_sriov.h"
#include "drivers/pci_vf.h"

#define LOW_END   0xfec00000u /* I/O APIC and other registers of the board from here on */
#define ENABLE_US 100000u     /* SR-IOV 1.1, VF Enable */

/* Where the machine's host bridge may be expected to decode: between the last memory and the board's registers, or
 * above all that is known. */
static struct pci_room room_of_machine(struct pci_bar *ecam) {
    const struct host_acpi *acpi = machine.boot->acpi;
    const struct frames *frames = machine.boot->frames;
    struct pci_room room = {
        .high = LOW_END, .taken = ecam, .taken_count = acpi->mcfg_count, .memory_top = machine.boot->memory_top};
    u64 top = max_u64(machine.boot->memory_top, GIB(4));

    for (u32 i = 0; i < frames->count; i++) {
        u64 end = frames->ranges[i].base + frames->ranges[i].bytes;

        if (end <= GIB(4)) room.low = max_u64(room.low, align_up(end, MIB(256)));
    }
    for (u32 i = 0; i < pass.count; i++)
        for (u32 k = 0; k < PCI_BARS; k++)
            if (!pass.functions[i].bars[k].io)
                top = max_u64(top, pass.functions[i].bars[k].base + pass.functions[i].bars[k].bytes);
    room.low64 = align_up(top, GIB(1));
    room.high64 = max_u64(BIT(cpuid_has_leaf(0x80000008) ? cpuid(0x80000008, 0).eax & 0xff : 36), room.low64);
    room.high = max_u64(room.high, room.low);
    for (u32 i = 0; i < acpi->mcfg_count; i++)
        ecam[i] = (struct pci_bar){.base = acpi->mcfg[i].address + ((u64)acpi->mcfg[i].first << 20),
                                   .bytes = (u64)(acpi->mcfg[i].last - acpi->mcfg[i].first + 1) << 20};
    return room;
}

/* Room for more of them: the old table is given up. */
static struct pci_function *grow(const struct pci_function *f, u32 more) {
    u32 index = (u32)(f - pass.functions), count = pass.count + more;
    struct pci_function *all = hostspace_take((count + 1) * sizeof(*all));

    memcpy(all, pass.functions, pass.count * sizeof(*all));
    pass.functions = all;
    return &all[index];
}

void pass_enable_vfs(const struct config_sriov *c) {
    const struct config_place *at = &c->function_at;
    struct pci_bar ecam[ARRAY_SIZE(machine.boot->acpi->mcfg)];
    struct pci_room room = room_of_machine(ecam);
    struct pci_function *f = NULL;
    char name[16], why[120];

    pci_name(name, sizeof(name), (u32)c->function);
    for (u32 i = 0; i < pass.count; i++)
        if (pass.functions[i].id == c->function) f = &pass.functions[i];
    fmt(why, sizeof(why), !f ? "the machine has no such function" : "its virtual functions are listed already");
    if (!f || f->vfs.count || f->virtual ||
        pci_sriov_plan(&pci_machine, f, (u32)c->vfs, pass.functions, pass.count, &room, why, sizeof(why)))
        refuse("%s:%u:%u: sriov: %s: %s|correct the line, or remove it", machine.boot->options.config, at->line,
               at->column, name, why);
    f->vfs.number = (u8)(c - machine.config->sriov);
    pci_sriov_enable(&pci_machine, f);
    clock_wait_us(ENABLE_US);
    f = grow(f, (u32)c->vfs);
    for (u32 n = 0; n < c->vfs; n++) pci_sriov_function(&pci_machine, f, n, &pass.functions[pass.count++]);
    pci_group(pass.functions, pass.count);
    log_line("pci: %s: %u virtual functions enabled%s, memory from 0x%llx on", name, (u32)c->vfs,
             f->vfs.ari ? ", with ARI" : "", (unsigned long long)f->vfs.bars[0].base);
}
