#include "core/msr.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/machine.h"
#include "core/partition.h"
#include "core/policy/msr.h"

static bool is_lapic(u32 msr) {
    return msr - MSR_X2APIC_FIRST <= MSR_X2APIC_LAST - MSR_X2APIC_FIRST || msr == MSR_TSC_DEADLINE ||
           msr == MSR_APIC_BASE;
}

int msr_read(struct vcpu *v, u32 msr, u64 *value) {
    const struct msr_entry *e;

    if (is_lapic(msr)) return vlapic_msr_read(&v->lapic, msr, value, vcpu_guest_tsc(v));
    e = msr_find(msr, v->cpuid.amd);
    if (!e) return -E_FAULT;
    switch (e->read) {
    case MSR_CONST:
    case MSR_IGNORE: *value = e->value; return 0;
    case MSR_TSC_REG: *value = msr == MSR_TSC ? vcpu_guest_tsc(v) : v->tsc_adjust; return 0;
    case MSR_CLOCK:
        *value = msr == MSR_PVCLOCK_WALL ? v->clock.wall : v->clock.time;
        return v->cpuid.kvm[0].regs.eax ? 0 : -E_FAULT;
    case MSR_EFER_REG: *value = machine.vendor->get_reg(&v->hw, REG_EFER); return 0;
    case MSR_MTRR: return vmtrr_read(&v->mtrr, msr, value);
    case MSR_PAT_REG: *value = machine.vendor->get_reg(&v->hw, REG_PAT); return 0;
    default: return -E_FAULT;
    }
}

/* SDM Vol 3A, Extended Feature Enable Register: LMA follows LME and paging, LME does not change while paging is on. */
static int write_efer(struct vcpu *v, u64 value) {
    const struct vendor_ops *ops = machine.vendor;
    u64 old = ops->get_reg(&v->hw, REG_EFER), allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;

    if (v->cpuid.ext[1].regs.edx & BIT(25)) allowed |= EFER_FFXSR;
    if (value & ~allowed) return -E_FAULT;
    if (((old ^ value) & EFER_LME) && (ops->get_reg(&v->hw, REG_CR0) & CR0_PG)) return -E_FAULT;
    ops->set_reg(&v->hw, REG_EFER, (value & ~EFER_LMA) | (old & EFER_LMA));
    return 0;
}

/* SDM Vol 3A, Page Attribute Table: eight fields, each of them 0, 1, 4, 5, 6 or 7. */
static int write_pat(struct vcpu *v, u64 value) {
    for (u32 i = 0; i < 64; i += 8) {
        u64 type = bits_get(value, i, 8);

        if (type > 7 || type == 2 || type == 3) return -E_FAULT;
    }
    machine.vendor->set_reg(&v->hw, REG_PAT, value);
    return 0;
}

static int write_clock(struct vcpu *v, u32 msr, u64 value) {
    const struct partition *p = v->partition;

    if (!v->cpuid.kvm[0].regs.eax) return -E_FAULT;
    return vpvclock_write(&v->clock, &p->memory, msr, value, machine.tsc_hz, v->tsc_adjust, p->wall_clock);
}

/* SDM Vol 3B, Time-Stamp Counter Adjustment: a write to either moves the other as well. */
static void write_tsc(struct vcpu *v, u32 msr, u64 value) {
    u64 moved = value - (msr == MSR_TSC ? vcpu_guest_tsc(v) : v->tsc_adjust);

    v->tsc_adjust += moved;
    v->tsc_offset += moved;
    machine.vendor->set_reg(&v->hw, REG_TSC_OFFSET, v->tsc_offset);
    vlapic_tsc_moved(&v->lapic, moved);
    v->timers_moved = true;
    (void)!write_clock(v, MSR_PVCLOCK_TIME, v->clock.time);
}

static int write_lapic(struct vcpu *v, u32 msr, u64 value) {
    struct vlapic_effect fx = {0};
    int error = vlapic_msr_write(&v->lapic, msr, value, vcpu_guest_tsc(v), &fx);

    vcpu_apic_effect(v, &fx);
    return error;
}

int msr_write(struct vcpu *v, u32 msr, u64 value) {
    const struct msr_entry *e;

    if (is_lapic(msr)) return write_lapic(v, msr, value);
    e = msr_find(msr, v->cpuid.amd);
    if (!e) return -E_FAULT;
    switch (e->write) {
    case MSR_IGNORE: return 0;
    case MSR_TSC_REG: write_tsc(v, msr, value); return 0;
    case MSR_CLOCK: return write_clock(v, msr, value);
    case MSR_EFER_REG: return write_efer(v, value);
    case MSR_MTRR: return vmtrr_write(&v->mtrr, msr, value, cpuid_address_bits(&v->cpuid));
    case MSR_PAT_REG: return write_pat(v, value);
    default: return -E_FAULT;
    }
}
