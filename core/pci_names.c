/* Names of PCI classes, vendors and devices. Boot core, before start. */
#include "core/pci_names.h"

#include "core/base/bits.h"
#include "core/base/layout.h"
#include "core/build.h"
#include "core/hostspace.h"

/* By class << 8 | subclass; the base class alone, for subclasses that are not listed, with ANY. */
#define ANY 0xffu
static const struct {
    u16 kind;
    const char *name;
} names[] = {
    {0x0000, "Non-VGA unclassified device"},
    {0x0001, "VGA compatible unclassified device"},
    {0x0000 | ANY, "Unclassified device"},
    {0x0100, "SCSI storage controller"},
    {0x0101, "IDE interface"},
    {0x0102, "Floppy disk controller"},
    {0x0104, "RAID bus controller"},
    {0x0105, "ATA controller"},
    {0x0106, "SATA controller"},
    {0x0107, "Serial Attached SCSI controller"},
    {0x0108, "Non-Volatile memory controller"},
    {0x0100 | ANY, "Mass storage controller"},
    {0x0200, "Ethernet controller"},
    {0x0207, "Infiniband controller"},
    {0x0208, "Fabric controller"},
    {0x0200 | ANY, "Network controller"},
    {0x0300, "VGA compatible controller"},
    {0x0301, "XGA compatible controller"},
    {0x0302, "3D controller"},
    {0x0300 | ANY, "Display controller"},
    {0x0400, "Multimedia video controller"},
    {0x0401, "Multimedia audio controller"},
    {0x0403, "Audio device"},
    {0x0400 | ANY, "Multimedia controller"},
    {0x0500, "RAM memory"},
    {0x0501, "FLASH memory"},
    {0x0500 | ANY, "Memory controller"},
    {0x0600, "Host bridge"},
    {0x0601, "ISA bridge"},
    {0x0602, "EISA bridge"},
    {0x0604, "PCI bridge"},
    {0x0607, "CardBus bridge"},
    {0x0600 | ANY, "Bridge"},
    {0x0700, "Serial controller"},
    {0x0701, "Parallel controller"},
    {0x0702, "Multiport serial controller"},
    {0x0703, "Modem"},
    {0x0700 | ANY, "Communication controller"},
    {0x0800, "PIC"},
    {0x0801, "DMA controller"},
    {0x0802, "Timer"},
    {0x0803, "RTC"},
    {0x0805, "SD Host controller"},
    {0x0806, "IOMMU"},
    {0x0880, "System peripheral"},
    {0x0800 | ANY, "Generic system peripheral"},
    {0x0900, "Keyboard controller"},
    {0x0902, "Mouse controller"},
    {0x0900 | ANY, "Input device controller"},
    {0x0a00 | ANY, "Docking station"},
    {0x0b40, "Co-processor"},
    {0x0b00 | ANY, "Processor"},
    {0x0c00, "FireWire (IEEE 1394)"},
    {0x0c03, "USB controller"},
    {0x0c04, "Fibre Channel"},
    {0x0c05, "SMBus"},
    {0x0c06, "InfiniBand"},
    {0x0c07, "IPMI Interface"},
    {0x0c00 | ANY, "Serial bus controller"},
    {0x0d11, "Bluetooth"},
    {0x0d00 | ANY, "Wireless controller"},
    {0x0e00 | ANY, "Intelligent controller"},
    {0x0f00 | ANY, "Satellite communications controller"},
    {0x1000, "Network and computing encryption device"},
    {0x1000 | ANY, "Encryption controller"},
    {0x1100 | ANY, "Signal processing controller"},
    {0x1200 | ANY, "Processing accelerators"},
    {0x1300 | ANY, "Non-Essential Instrumentation"},
    {0x4000 | ANY, "Coprocessor"},
    {0xff00 | ANY, "Unassigned class"},
};

const char *pci_class_name(u32 class_code) {
    u32 kind = class_code >> 8;

    for (u32 i = 0; i < ARRAY_SIZE(names); i++)
        if (names[i].kind == kind || names[i].kind == (kind | ANY)) return names[i].name;
    return "Class";
}

const struct pci_ids_entry *pci_names_find(const struct pci_function *functions, u32 count) {
    const struct boot_module *m = build_find_module(PCI_IDS_MODULE);
    struct pci_ids_entry *entries;

    if (!m || !count) return NULL;
    entries = hostspace_take(count * sizeof(*entries));
    for (u32 i = 0; i < count; i++)
        entries[i] = (struct pci_ids_entry){.vendor = functions[i].vendor, .device = functions[i].device};
    pci_ids_find((const char *)(m->at.v + DIRECT_BASE), m->bytes, entries, count);
    return entries;
}
