/* A vCPU's VMCS from its first use to the reset state. The vCPU's core, interrupts closed, on its
 * final page tables, GDT, TSS and IDT: the host state is written here once and never again. */
#include "core/base/cpu.h"
#include "core/base/layout.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "vmx/enter.h"
#include "vmx/vmx.h"

#define DR6_RESET     0xffff0ff0 /* SDM Vol 3A, Debug Registers */
#define DR7_RESET     0x400
#define RESET_RIP     0xfff0
#define RESET_CS      0xf000
#define RESET_CS_BASE 0xffff0000
#define RIGHTS_CODE   0x9b /* present, code, readable, accessed */
#define RIGHTS_DATA   0x93
#define RIGHTS_LDT    0x82
#define RIGHTS_TSS    0x8b /* busy. SDM Vol 3C, Checks on Guest Segment Registers */

struct table_register {
    u16 limit;
    u64 base;
} __attribute__((packed));

/* --- translations ----------------------------------------------------------------------------- */

struct descriptor {
    u64 low, high;
};

/* SDM Vol 3C, INVEPT and INVVPID: fail only for a type that the processor does not have. */
static void invept(u64 type, u64 eptp) {
    const struct descriptor d = {eptp, 0};
    bool ok;

    __asm__ volatile("invept %[d], %[type]" : "=@cca"(ok) : [d] "m"(d), [type] "r"(type) : "memory");
    ASSERT(ok);
}

static u64 ept_pointer(const struct vcpu_hw *hw) {
    return hw->partition->stage2_root.v | EPTP_WRITE_BACK | EPTP_WALK_4;
}

void vmx_flush_stage2(struct vcpu_hw *hw) { invept(vmx.invept_type, ept_pointer(hw)); }

void vmx_flush_linear(struct vcpu_hw *hw) {
    const struct descriptor d = {(u16)hw->asid, 0};
    bool ok;

    if (!vmx.vpid) /* entries and exits do it */
        return;
    __asm__ volatile("invvpid %[d], %[type]" : "=@cca"(ok) : [d] "m"(d), [type] "r"(vmx.invvpid_type) : "memory");
    ASSERT(ok);
}

/* --- the VMCS --------------------------------------------------------------------------------- */

static void load_vmcs(struct vcpu_hw *hw) {
    bool cleared, loaded;

    *(u32 *)hw->block = vmx.revision;
    __asm__ volatile("vmclear %[at]" : "=@cca"(cleared) : [at] "m"(hw->block_pa.v) : "memory");
    __asm__ volatile("vmptrld %[at]" : "=@cca"(loaded) : [at] "m"(hw->block_pa.v) : "memory");
    ASSERT(cleared && loaded);
    hw->launched = false;
    hw->host_rsp = 0;
}

/* Fields that are 0 throughout. The host has no system calls. */
static void write_zeros(void) {
    const u32 fields[] = {
        VMCS_PF_ERROR_MASK.field,     VMCS_PF_ERROR_MATCH.field,    VMCS_CR3_TARGET_COUNT.field,
        VMCS_EXIT_STORE_COUNT.field,  VMCS_EXIT_LOAD_COUNT.field,   VMCS_ENTRY_LOAD_COUNT.field,
        VMCS_TSC_OFFSET.field,        VMCS_HOST_FS.field,           VMCS_HOST_GS.field,
        VMCS_HOST_FS_BASE.field,      VMCS_HOST_GS_BASE.field,      VMCS_HOST_SYSENTER_CS.field,
        VMCS_HOST_SYSENTER_ESP.field, VMCS_HOST_SYSENTER_EIP.field,
    };

    for (u32 i = 0; i < ARRAY_SIZE(fields); i++) vmcs_set(fields[i], 0);
}

static void write_controls(const struct vcpu_hw *hw) {
    const struct vendor_partition *p = hw->partition;

    vmcs_write32(VMCS_PIN_CONTROLS, vmx.pin);
    vmcs_write32(VMCS_PROC_CONTROLS, vmx.proc);
    vmcs_write32(VMCS_SECONDARY_CONTROLS, vmx.secondary);
    vmcs_write32(VMCS_EXIT_CONTROLS, vmx.exit);
    vmcs_write32(VMCS_ENTRY_CONTROLS, vmx.entry);
    /* A machine check is the machine's, whoever runs. #DB and #AC can recur without end while they are delivered, and
     * nothing else would get through: each time round must be an exit. */
    vmcs_write32(VMCS_EXCEPTION_BITMAP, (u32)(BIT(VEC_MC) | BIT(VEC_DB) | BIT(VEC_AC)));
    vmcs_write64(VMCS_IO_BITMAP_A, p->io_bitmap_pa.v);
    vmcs_write64(VMCS_IO_BITMAP_B, p->io_bitmap_pa.v + PAGE_4K);
    vmcs_write64(VMCS_MSR_BITMAP, p->msr_bitmap_pa.v);
    vmcs_write64(VMCS_EPT_POINTER, ept_pointer(hw));
    vmcs_write64(VMCS_LINK_POINTER, ~0ull); /* no shadow VMCS */
    vmcs_write(VMCS_CR0_MASK, vmx.cr0_mask);
    vmcs_write(VMCS_CR4_MASK, ~(u64)VMX_CR4_GUEST);
    if (vmx.vpid) vmcs_write16(VMCS_VPID, (u16)hw->asid);
    /* An empty virtual-APIC page: a requested vector is above every priority. CR8 exits as it does without. */
    if (vmx.secondary & PROC2_DELIVERY) {
        vmcs_write64(VMCS_VIRTUAL_APIC, hw->block_pa.v + PAGE_4K);
        vmcs_write32(VMCS_TPR_THRESHOLD, 0);
        vmcs_write16(VMCS_INTERRUPT_STATUS, 0);
    }
    if (vmx.secondary & PROC2_ENCLS) vmcs_write64(VMCS_ENCLS_EXITING, ~0ull);
}

/* Base out of a 16-byte descriptor. SDM Vol 3A, TSS Descriptor in 64-Bit Mode. */
static u64 tss_base(u64 gdt, u16 selector) {
    const u64 *d = (const u64 *)(gdt + (selector & ~7u));

    return bits_get(d[0], 16, 24) | bits_get(d[0], 56, 8) << 24 | d[1] << 32;
}

static void write_host_state(void) {
    struct table_register gdt, idt;
    u16 tr;

    __asm__ volatile("sgdt %0" : "=m"(gdt));
    __asm__ volatile("sidt %0" : "=m"(idt));
    __asm__ volatile("str %0" : "=r"(tr));
    vmcs_write16(VMCS_HOST_CS, GDT_CODE);
    vmcs_write16(VMCS_HOST_SS, GDT_DATA);
    vmcs_write16(VMCS_HOST_DS, GDT_DATA);
    vmcs_write16(VMCS_HOST_ES, GDT_DATA);
    vmcs_write16(VMCS_HOST_TR, tr);
    vmcs_write(VMCS_HOST_TR_BASE, tss_base(gdt.base, tr));
    vmcs_write(VMCS_HOST_GDTR_BASE, gdt.base);
    vmcs_write(VMCS_HOST_IDTR_BASE, idt.base);
    vmcs_write(VMCS_HOST_CR0, read_cr0());
    vmcs_write(VMCS_HOST_CR3, read_cr3());
    vmcs_write(VMCS_HOST_CR4, read_cr4());
    vmcs_write64(VMCS_HOST_EFER, rdmsr(MSR_EFER));
    if (vmx.pat) vmcs_write64(VMCS_HOST_PAT, rdmsr(MSR_PAT));
    vmcs_write(VMCS_HOST_RIP, (u64)vmx_exit_entry);
}

void vmx_vcpu_init(struct vcpu_hw *hw) {
    load_vmcs(hw);
    write_zeros();
    write_controls(hw);
    write_host_state();
    /* Nothing that an earlier user of this core left may be found. */
    vmx_flush_stage2(hw);
}

/* --- reset ------------------------------------------------------------------------------------ */

static void reset_segments(struct vcpu_hw *hw) {
    const struct segment code = {RESET_CS, RIGHTS_CODE, true, 0xffff, RESET_CS_BASE};
    const struct segment data = {0, RIGHTS_DATA, true, 0xffff, 0};
    const struct segment ldt = {0, RIGHTS_LDT, true, 0xffff, 0};
    const struct segment tss = {0, RIGHTS_TSS, true, 0xffff, 0};

    for (enum vcpu_seg i = VSEG_ES; i <= VSEG_GS; i++) vmx_set_seg(hw, i, i == VSEG_CS ? &code : &data);
    vmx_set_seg(hw, VSEG_LDTR, &ldt);
    vmx_set_seg(hw, VSEG_TR, &tss);
    vmx_set_seg(hw, VSEG_GDTR, &data);
    vmx_set_seg(hw, VSEG_IDTR, &data);
}

/* What the guest has in the machine itself while this core is its own. */
static void reset_direct(void) {
    const u64 zero = 0, dr6 = DR6_RESET;

    __asm__ volatile("mov %0, %%db0\n\t"
                     "mov %0, %%db1\n\t"
                     "mov %0, %%db2\n\t"
                     "mov %0, %%db3\n\t"
                     "mov %1, %%db6" ::"r"(zero),
                     "r"(dr6));
    write_cr2(0);
}

/* What an INIT leaves alone. */
static void reset_msrs(struct vcpu_hw *hw) {
    wrmsr(MSR_STAR, 0);
    wrmsr(MSR_LSTAR, 0);
    wrmsr(MSR_CSTAR, 0);
    wrmsr(MSR_SFMASK, 0);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    if (cpu_has_tsc_aux()) wrmsr(MSR_TSC_AUX, 0); /* also without the control that lets guests have RDTSCP */
    vmx_set_reg(hw, REG_PAT, VMX_PAT_RESET);
    vmcs_write32(VMCS_GUEST_SYSENTER_CS, 0);
    vmcs_write(VMCS_GUEST_SYSENTER_ESP, 0);
    vmcs_write(VMCS_GUEST_SYSENTER_EIP, 0);
}

/* SDM Vol 3A, Processor State After Reset: table "IA-32 and Intel 64 Processor States Following
 * Power-up, Reset, or INIT". */
void vmx_vcpu_reset(struct vcpu_hw *hw, bool init) {
    u64 caches = CR0_CD | CR0_NW;

    if (init) {
        caches &= vmx_get_reg(hw, REG_CR0);
    } else {
        reset_msrs(hw);
        vmx_flush_stage2(hw); /* of what an earlier run had mapped */
    }
    for (u32 i = 0; i < ARRAY_SIZE(hw->gpr); i++) hw->gpr[i] = 0;
    hw->gpr[2] = cpuid(1, 0).eax; /* EDX: the processor's signature */
    hw->interrupted.type = EVENT_NONE;
    hw->timer_deadline = NEVER;
    vmcs_write32(VMCS_PROC_CONTROLS, vmx.proc);
    vmcs_write32(VMCS_ENTRY_EVENT, 0);
    vmcs_write32(VMCS_INTERRUPTIBILITY, 0);
    vmcs_write32(VMCS_ACTIVITY, 0);
    vmcs_write(VMCS_PENDING_DEBUG, 0);
    vmcs_write64(VMCS_GUEST_DEBUGCTL, 0);
    vmcs_write64(VMCS_GUEST_EFER, 0);
    vmx_set_reg(hw, REG_CR0, caches | CR0_ET);
    vmx_set_reg(hw, REG_CR3, 0);
    vmx_set_reg(hw, REG_CR4, 0);
    vmx_set_reg(hw, REG_RIP, RESET_RIP);
    vmx_set_reg(hw, REG_RSP, 0);
    vmx_set_reg(hw, REG_RFLAGS, RFLAGS_FIXED);
    vmx_set_reg(hw, REG_DR7, DR7_RESET);
    reset_segments(hw);
    reset_direct();
    vmx_flush_linear(hw);
}
