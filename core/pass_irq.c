/* Interrupts of passed-through functions. Each that the guest opens gets one host vector, the same on every core of the
 * partition: when the guest sends it elsewhere, only the target changes, and what is under way still finds its meaning.
 */
#include "core/pass_impl.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "core/partition.h"
#include "drivers/ioapic.h"
#include "drivers/lapic.h"
#include "drivers/pci.h"

#define MSI_ADDRESS 0xfee00000u /* SDM Vol 3A, Message Address Register Format: physical mode */
#define MSI_ENABLE  1u
#define MSIX_ENABLE 0x8000u
#define ENTRY_MASK  1u

static u32 get(const struct pass_function *f, u32 offset, u32 size) { return pci_read(f->real, offset, size); }
static void put(const struct pass_function *f, u32 offset, u32 size, u32 value) {
    pci_write(f->real, offset, size, value);
}

static u32 target_core(const struct partition *p, const struct apic_msg *msg) {
    for (u32 i = 0; i < p->vcpu_count; i++)
        if (vlapic_match(p->lapics[i], msg)) return p->vcpus[i]->host_apic;
    return p->vcpus[0]->host_apic;
}

/* Gives the interrupt a host vector if it has none. Returns 0 or -E_NOMEM. */
static int take_vector(struct partition *p, u32 number) {
    struct passthrough *t = p->pci;

    if (t->irqs[number].vector) return 0;
    for (u32 i = 0; i < PASS_VECTORS; i++)
        if (!t->source[i]) {
            t->irqs[number].vector = (u8)(PASS_FIRST_VECTOR + i);
            __atomic_store_n(&t->source[i], (u16)(number + 1), __ATOMIC_RELEASE);
            return 0;
        }
    if (!t->told)
        log_line(LOG_WARN "%s: its devices want more than %u interrupts; the rest stay masked", p->config->name,
                 PASS_VECTORS);
    t->told = true;
    return -E_NOMEM;
}

/* What the device has to send so that the interrupt reaches the core that the guest chose. */
static int connect(struct partition *p, u32 number, u32 index, const struct apic_msg *msg, struct msi_message *out) {
    struct passthrough *t = p->pci;
    u32 apic = target_core(p, msg), id = t->functions[t->irqs[number].function].real->id;
    int error = take_vector(p, number);

    if (error) return error;
    if (pass.iommu && pass.iommu->remaps_interrupts())
        return pass.iommu->route(id, index, t->irqs[number].vector, apic, false, out);
    if (apic >= 0xff) return -E_RANGE; /* the address has 8 bits for it, and all ones are everybody */
    *out = (struct msi_message){MSI_ADDRESS | (u64)apic << 12, t->irqs[number].vector};
    return 0;
}

static volatile u32 *msix_entry(const struct pass_function *f, u32 index) {
    return (volatile u32 *)(f->real->bars[f->real->msix_bar].base + f->real->msix_offset + 16 * index + DIRECT_BASE);
}

static void write_msix(const struct pass_function *f, const struct vpci_function *g, u32 index,
                       const struct msi_message *m) {
    volatile u32 *entry = msix_entry(f, index);

    entry[3] = ENTRY_MASK; /* PCI Local Bus 3.0, MSI-X Table: a message changes only while it is masked */
    if (m) {
        entry[0] = (u32)m->address;
        entry[1] = (u32)(m->address >> 32);
        entry[2] = m->data;
        entry[3] = 0;
    }
    put(f, f->real->msix + 2u, 2, g->msix_enabled ? MSIX_ENABLE : 0);
}

static void write_msi(const struct pass_function *f, const struct vpci_function *g, const struct msi_message *m) {
    u32 at = f->real->msi, data = at + (f->real->msi_64 ? 12u : 8u);
    u32 control = get(f, at + 2, 2) & ~(MSI_ENABLE | 0x70u);

    if (m) {
        put(f, at + 4, 4, (u32)m->address);
        if (f->real->msi_64) put(f, at + 8, 4, (u32)(m->address >> 32));
        put(f, data, 2, m->data);
    }
    /* Masked by the device itself, it stays pending; without such a bit the guest can only disable it. */
    if (f->real->msi_maskable) put(f, data + 4, 4, m ? 0 : ~0u);
    put(f, at + 2, 2, control | (g->msi_enabled && !g->msix_enabled && (m || f->real->msi_maskable) ? MSI_ENABLE : 0));
}

void pass_vector(void *ctx, u32 f, u32 index) {
    struct partition *p = ctx;
    struct passthrough *t = p->pci;
    const struct vpci_function *g = &t->guest[f];
    const struct pass_function *fn = &t->functions[f];
    const struct msi_message *wanted = g->msix_enabled ? &g->msix[index].message : &g->msi.message;
    struct msi_message real;
    struct apic_msg msg;
    char name[16];
    int error;
    bool open = vpci_vector_open(g, index) && vpci_decode_message(wanted, false, &msg);

    if (open) {
        /* Before the device can send it. */
        __atomic_store_n(&t->irqs[fn->first_irq + index].message, wanted->address << 32 | wanted->data,
                         __ATOMIC_RELEASE);
        error = connect(p, fn->first_irq + index, index, &msg, &real);
        open = !error;
        if (error && !t->told) {
            pci_name(name, sizeof(name), fn->real->id);
            log_line(LOG_WARN "%s: %s: interrupt %u stays masked: %s", p->config->name, name, index, error_name(error));
            t->told = true;
        }
    }
    /* Both: what the guest left is closed as well. */
    if (index < fn->real->msix_entries) write_msix(fn, g, index, open && g->msix_enabled ? &real : NULL);
    if (index == 0 && fn->real->msi) write_msi(fn, g, open && !g->msix_enabled ? &real : NULL);
}

/* --- delivery --- */

/* PCI Local Bus 3.0, Interrupt Pins: level, active low. */
static struct isa_override line_of(const struct pass_function *f) { return (struct isa_override){f->gsi, true, true}; }

static void mask_line(const struct pass_function *f, bool masked) {
    const struct isa_override line = line_of(f);

    (void)!ioapic_mask(&line, masked); /* a line that is not there was told at the start */
}

static void line_interrupt(struct partition *p, u32 f) {
    const struct pass_function *fn = &p->pci->functions[f];

    /* Until the guest has ended it: the device goes on asserting. */
    mask_line(fn, true);
    spin_lock(&p->board_lock);
    vboard_pci_line(&p->board, p->pci->guest[f].intx_pin, true);
    spin_unlock(&p->board_lock);
}

void passthrough_interrupt(struct vcpu *v, u8 vector) {
    struct partition *p = v->partition;
    struct passthrough *t = p->pci;
    u32 number = t ? __atomic_load_n(&t->source[vector - PASS_FIRST_VECTOR], __ATOMIC_ACQUIRE) : 0;
    const struct pass_function *fn;
    struct pass_irq *irq;
    struct msi_message m;
    struct apic_msg msg;
    u64 packed;

    if (!number) return; /* left over from before a restart */
    irq = &t->irqs[number - 1];
    fn = &t->functions[irq->function];
    if (number - 1 == fn->first_irq + fn->irqs) {
        line_interrupt(p, irq->function);
        return;
    }
    packed = __atomic_load_n(&irq->message, __ATOMIC_ACQUIRE);
    m = (struct msi_message){packed >> 32, (u32)packed};
    if (vpci_decode_message(&m, false, &msg)) partition_message(p, &msg);
}

void passthrough_line_ended(struct partition *p, u32 pin) {
    for (u32 i = 0; p->pci && i < p->pci->count; i++)
        if (p->pci->functions[i].has_gsi && p->pci->guest[i].intx_pin == pin) mask_line(&p->pci->functions[i], false);
}

void pass_silence(struct partition *p, u32 f) {
    struct passthrough *t = p->pci;
    const struct pass_function *fn = &t->functions[f];
    struct vpci_function *g = &t->guest[f];

    g->msi_enabled = g->msix_enabled = false;
    for (u32 i = 0; i < fn->real->msix_entries; i++) write_msix(fn, g, i, NULL);
    if (fn->real->msi) write_msi(fn, g, NULL);
    if (fn->has_gsi) mask_line(fn, true);
}

/* The line's vector on vCPU 0's core. Returns 0 or an error of the I/O APIC. */
int pass_open_line(struct partition *p, u32 f) {
    struct passthrough *t = p->pci;
    const struct pass_function *fn = &t->functions[f];
    u32 number = fn->first_irq + fn->irqs;
    const struct isa_override line = line_of(fn);
    int error;

    if (!fn->has_gsi) return 0;
    error = take_vector(p, number);
    return error ? error : ioapic_route(&line, t->irqs[number].vector, p->vcpus[0]->host_apic);
}
