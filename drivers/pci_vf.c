#include "drivers/pci_vf.h"

void pci_sriov_enable(const struct pci_access *a, const struct pci_function *f) {
    const struct pci_vfs *vfs = &f->vfs;
    u32 at = f->sriov, control = vfs->ari ? SRIOV_ARI : 0;

    a->write(a->ctx, f->id, at + SRIOV_CONTROL, 2, control);
    a->write(a->ctx, f->id, at + SRIOV_PAGE_SIZE, 4, SRIOV_PAGES_4K);
    a->write(a->ctx, f->id, at + SRIOV_NUMBER, 2, vfs->count);
    for (u32 i = 0; i < PCI_BARS; i++) {
        if (!vfs->bars[i].bytes) continue;
        a->write(a->ctx, f->id, at + SRIOV_BARS + 4 * i, 4, (u32)vfs->bars[i].base);
        if (vfs->bars[i].wide) a->write(a->ctx, f->id, at + SRIOV_BARS + 4 * i + 4, 4, (u32)(vfs->bars[i].base >> 32));
    }
    /* Virtual functions report errors as their physical one does (SR-IOV 1.1, Device Control Register): not at all. */
    if (f->pcie) a->write(a->ctx, f->id, f->pcie + PCI_PCIE_CONTROL, 2, f->control);
    a->write(a->ctx, f->id, at + SRIOV_CONTROL, 2, control | SRIOV_ENABLE | SRIOV_MEMORY);
}

bool pci_sriov_in_use(const struct pci_access *a, const struct pci_function *f) {
    for (u32 n = 0; n < f->vfs.count; n++) {
        u32 command = a->read(a->ctx, pci_vf_id(&f->vfs, n), PCI_REG_COMMAND, 2);

        if (command != 0xffff && (command & PCI_COMMAND_MASTER)) return true;
    }
    return false;
}
