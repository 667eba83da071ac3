/* drivers/ for what is passed through: this machine has no PCI function and no IOMMU. */
#include <string.h>

#include "core/base/errors.h"
#include "drivers/ioapic.h"
#include "drivers/pci.h"

static u32 read(void *ctx, u32 id, u32 offset, u32 size) {
    (void)ctx, (void)id, (void)offset;
    return size == 4 ? ~0u : (1u << 8 * size) - 1;
}
static void write(void *ctx, u32 id, u32 offset, u32 size, u32 value) {
    (void)ctx, (void)id, (void)offset, (void)size, (void)value;
}
const struct pci_access pci_machine = {NULL, read, write};

void pci_setup(const struct host_acpi *acpi) { (void)acpi; }
u32 pci_discover(struct pci_function *out, u32 max) { return (void)out, (void)max, 0; }
u64 pci_page(u32 id) { return (void)id, 0; }
int pci_reset(const struct pci_function *f, const struct pci_function *bridge) {
    (void)f, (void)bridge;
    return -E_UNSUPPORTED;
}
int ioapic_set_remapping(const struct iommu_ops *ops) { return (void)ops, -E_NOENT; }
int ioapic_route(const struct isa_override *line, u8 vector, u32 apic_id) {
    (void)line, (void)vector, (void)apic_id;
    return -E_NOENT;
}
int ioapic_mask(const struct isa_override *line, bool masked) { return (void)line, (void)masked, -E_NOENT; }
const struct iommu_ops vtd_ops = {.name = "absent"}, amdvi_ops = {.name = "absent"};
