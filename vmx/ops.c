/* The VMX instance of the vendor interface, VMX operation on and off, and the bitmaps of a partition. */
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "mm/pagetable.h"
#include "vmx/vmx.h"

#define FEATURE_LOCKED BIT(0) /* SDM Vol 4, IA32_FEATURE_CONTROL */
#define FEATURE_VMX    BIT(2) /* VMX outside SMX operation */
/* SDM Vol 3C, I/O-Bitmap Addresses; MSR-Bitmap Address. */
#define IO_BITMAP_BYTES  (2 * PAGE_4K)
#define MSR_BITMAP_BYTES PAGE_4K
#define MSR_BITMAP_HIGH  1024 /* bytes: MSRs 0xc0000000 to 0xc0001fff */
#define MSR_BITMAP_WRITE 2048
#define MSRS_PER_RANGE   0x2000

void vmcs_failed(u32 field, const char *what) { panic("vmx: %s of field 0x%x fails", what, field); }

int vmx_unlock(char *why, size_t why_size) {
    u64 control = rdmsr(MSR_FEATURE_CONTROL);

    if (!(control & FEATURE_LOCKED)) {
        wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_VMX | FEATURE_LOCKED);
        control = rdmsr(MSR_FEATURE_CONTROL);
    }
    if (control & FEATURE_VMX) return 0;
    fmt(why, why_size, "VMX is locked off by firmware|enable Intel virtualisation technology in firmware setup");
    return -E_UNSUPPORTED;
}

static int cpu_enable(void *page, hpa_t page_pa, char *why, size_t why_size) {
    bool ok;
    int error = vmx_unlock(why, why_size);

    if (error) return error;
    /* SDM Vol 3D, VMX-Fixed Bits in CR0 and in CR4. */
    write_cr0((read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
    write_cr4((read_cr4() | CR4_VMXE | rdmsr(MSR_VMX_CR4_FIXED0)) & rdmsr(MSR_VMX_CR4_FIXED1));
    *(u32 *)page = vmx.revision;
    __asm__ volatile("vmxon %[region]" : "=@cca"(ok) : [region] "m"(page_pa.v) : "memory");
    if (ok) return 0;
    fmt(why, why_size,
        "vmxon fails: this core is in VMX operation already, or differs from the boot core|power "
        "the machine off and on, and load no other hypervisor before this one");
    return -E_UNSUPPORTED;
}

static void cpu_disable(void) {
    if (!(read_cr4() & CR4_VMXE)) return;
    __asm__ volatile("vmxoff" ::: "cc", "memory");
    write_cr4(read_cr4() & ~CR4_VMXE);
}

static void partition_init(struct vendor_partition *p) {
    memset(p->io_bitmap, 0xff, IO_BITMAP_BYTES);
    memset(p->msr_bitmap, 0xff, MSR_BITMAP_BYTES);
}

static void clear_bit(void *bitmap, u32 bit) {
    u8 *byte = (u8 *)bitmap + bit / 8;

    *byte = (u8)(*byte & ~(1u << bit % 8));
}

static void allow_port(struct vendor_partition *p, u16 port) { clear_bit(p->io_bitmap, port); }

static void allow_msr(struct vendor_partition *p, u32 msr, bool read, bool write) {
    u8 *map = p->msr_bitmap;
    u32 index = msr & (MSRS_PER_RANGE - 1);

    /* Other MSRs exit always. */
    ASSERT(msr < MSRS_PER_RANGE || msr - 0xc0000000u < MSRS_PER_RANGE);
    if (msr >= MSRS_PER_RANGE) map += MSR_BITMAP_HIGH;
    if (read) clear_bit(map, index);
    if (write) clear_bit(map + MSR_BITMAP_WRITE, index);
}

static bool arm_timer(struct vcpu_hw *hw, u64 deadline) {
    hw->timer_deadline = deadline;
    return vmx.timer;
}

/* Not needed: the processor gives the length of every instruction that exits. */
static struct code_address code_address(struct vcpu_hw *hw) {
    (void)hw;
    return (struct code_address){0, 0};
}

const struct vendor_ops vmx_ops = {
    .name = "vmx",
    .stage2 = &pt_ept,
    .block_bytes = 2 * PAGE_4K, /* VMCS, virtual-APIC page */
    .io_bitmap_bytes = IO_BITMAP_BYTES,
    .msr_bitmap_bytes = MSR_BITMAP_BYTES,
    .probe = vmx_probe,
    .cpu_enable = cpu_enable,
    .cpu_disable = cpu_disable,
    .partition_init = partition_init,
    .allow_port = allow_port,
    .allow_msr = allow_msr,
    .vcpu_init = vmx_vcpu_init,
    .vcpu_reset = vmx_vcpu_reset,
    .run = vmx_run,
    .idle = cpu_wait_interrupt,
    .get_reg = vmx_get_reg,
    .set_reg = vmx_set_reg,
    .code_address = code_address,
    .get_context = vmx_get_context,
    .get_seg = vmx_get_seg,
    .set_seg = vmx_set_seg,
    .inject = vmx_inject,
    .can_inject = vmx_can_inject,
    .window = vmx_window,
    .post = vmx_post,
    .skip = vmx_skip,
    .flush = vmx_flush_stage2,
    .arm_timer = arm_timer,
    .dump = vmx_dump,
};
