#include "test/fake/vendor.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/x86.h"
#include "core/traps.h"
#include "drivers/lapic.h"
#include "mm/pagetable.h"
#include "test/fake/hardware.h"

struct fake_script fake_script;
struct fake_cpu fake_cpu;

_Static_assert(sizeof(struct fake_vcpu) <= 4096, "one page");

/* Of the tests' own making: never a matter of what the guest does. */
static void must(bool truth) {
    if (!truth) abort();
}

static int probe(struct vendor_caps *caps, char *why, size_t why_size) {
    fmt(why, why_size, "the fake has nothing|take another");
    *caps = (struct vendor_caps){.max_leaf = fake_cpu.small_leaves ? 2 : 3,
                                 .timer = fake_cpu.timer,
                                 .la57 = true,
                                 .longest_run = caps->longest_run};
    fmt(caps->summary, sizeof(caps->summary), "scripted");
    return fake_cpu.refuse_probe ? -E_UNSUPPORTED : 0;
}

static int cpu_enable(void *page, hpa_t page_pa, char *why, size_t why_size) {
    must(page && page_pa.v);
    fmt(why, why_size, "no host mode|go elsewhere");
    return fake_cpu.refuse_enable ? -E_UNSUPPORTED : 0;
}
static void cpu_disable(void) {}

static void partition_init(struct vendor_partition *p) {
    memset(p->io_bitmap, 0xff, 8192);
    memset(p->msr_bitmap, 0xff, 4096);
}
static void allow_port(struct vendor_partition *p, u16 port) { (void)p, (void)port, fake_cpu.opened_ports++; }
static void allow_msr(struct vendor_partition *p, u32 msr, bool read, bool write) {
    (void)p, (void)msr;
    must(read || write);
    fake_cpu.opened_msrs++;
}

static void vcpu_init(struct vcpu_hw *hw) { fake_of(hw)->inits++; }

static void vcpu_reset(struct vcpu_hw *hw, bool init) {
    struct fake_vcpu *f = fake_of(hw);
    u64 pat = init ? f->reg[REG_PAT] : 0x0007040600070406, caches = CR0_CD | CR0_NW;
    u32 entries = f->entries, resets = f->resets, inits = f->inits;

    if (init) caches &= f->reg[REG_CR0];
    *f = (struct fake_vcpu){.entries = entries, .resets = resets + 1, .inits = inits};
    memset(hw->gpr, 0, sizeof(hw->gpr));
    f->reg[REG_RIP] = 0xfff0;
    f->reg[REG_RFLAGS] = RFLAGS_FIXED;
    f->reg[REG_CR0] = CR0_ET | caches;
    f->reg[REG_PAT] = pat;
    f->seg[VSEG_CS] = (struct segment){0xf000, 0x9b, true, 0xffff, 0xffff0000};
    hw->interrupted.type = EVENT_NONE;
}

/* A partition with functions is woken for ever, to look for refused accesses. */
#define MAX_NAPS 1000
static u32 naps; /* since something ran */

static void run(struct vcpu_hw *hw, struct vm_exit *exit) {
    struct fake_vcpu *f = fake_of(hw);

    f->entries++;
    naps = 0;
    if (f->queued.type) {
        f->taken = f->queued;
        f->taken_count++;
        f->queued.type = EVENT_NONE;
    }
    if (fake_script.at == fake_script.count) machine_stop(STOP_SCRIPT);
    *exit = fake_script.exits[fake_script.at++];
    if (fake_script.posted_taken) hw->posted = 0;
    hw->interrupted = fake_script.cut;
    fake_script.cut.type = EVENT_NONE;
}

static void idle(void) {
    fake_cpu.idles++;
    if (!fake_cpu.wake || fake_hw.timer == NEVER || ++naps > MAX_NAPS) {
        naps = 0;
        machine_stop(STOP_IDLE);
    }
    if (fake_hw.tsc < fake_hw.timer) fake_hw.tsc = fake_hw.timer;
    fake_hw.timer = NEVER;
    host_interrupt(VECTOR_TIMER);
}

static u64 get_reg(struct vcpu_hw *hw, enum vcpu_reg reg) { return fake_of(hw)->reg[reg]; }
static void set_reg(struct vcpu_hw *hw, enum vcpu_reg reg, u64 value) { fake_of(hw)->reg[reg] = value; }
static void get_seg(struct vcpu_hw *hw, enum vcpu_seg seg, struct segment *out) { *out = fake_of(hw)->seg[seg]; }
static void set_seg(struct vcpu_hw *hw, enum vcpu_seg seg, const struct segment *in) { fake_of(hw)->seg[seg] = *in; }

static bool is_long(const struct fake_vcpu *f) { return f->seg[VSEG_CS].attributes >> 13 & 1; }

static struct code_address code_address(struct vcpu_hw *hw) {
    const struct fake_vcpu *f = fake_of(hw);

    if (!is_long(f) || !(f->reg[REG_EFER] & EFER_LMA) || f->reg[REG_CR4] & CR4_LA57) return (struct code_address){0, 0};
    return (struct code_address){f->reg[REG_RIP], f->reg[REG_CR3]};
}

static void get_context(struct vcpu_hw *hw, struct vcpu_context *out) {
    const struct fake_vcpu *f = fake_of(hw);

    *out = (struct vcpu_context){
        .rip = f->reg[REG_RIP],
        .rflags = f->reg[REG_RFLAGS],
        .cr0 = f->reg[REG_CR0],
        .cr3 = f->reg[REG_CR3],
        .cr4 = f->reg[REG_CR4],
        .efer = f->reg[REG_EFER],
        .cs_base = f->seg[VSEG_CS].base,
        .cpl = (u32)f->reg[REG_CPL],
        .cs_long = is_long(f),
        .cs_big = f->seg[VSEG_CS].attributes >> 14 & 1,
        .has_pdptes = fake_cpu.pdptes,
    };
    memcpy(out->pdptes, &f->reg[REG_PDPTE0], sizeof(out->pdptes));
}

static bool can_inject(struct vcpu_hw *hw, enum event_type type) {
    const struct fake_vcpu *f = fake_of(hw);

    if (f->queued.type) return false;
    return type == EVENT_NMI ? !f->nmi_blocked : (f->reg[REG_RFLAGS] & RFLAGS_IF) && !f->intr_blocked;
}

/* One event for one entry, and nothing that is no event. */
static void inject(struct vcpu_hw *hw, const struct vm_event *event) {
    struct fake_vcpu *f = fake_of(hw);

    must(!f->queued.type && event->type > EVENT_NONE && event->type <= EVENT_SOFT_EXCEPTION);
    must(event->type != EVENT_EXCEPTION || event->vector < 32);
    f->queued = *event;
}

static void window(struct vcpu_hw *hw, enum event_type type, bool open) {
    *(type == EVENT_NMI ? &fake_of(hw)->nmi_window : &fake_of(hw)->intr_window) = open;
}

static bool post(struct vcpu_hw *hw, u8 vector) {
    if (!fake_cpu.posts || fake_of(hw)->intr_window) return false;
    must(!hw->posted);
    hw->posted = fake_of(hw)->posted = vector;
    return true;
}

static void skip(struct vcpu_hw *hw, u32 length) {
    must(length <= 15);
    fake_of(hw)->reg[REG_RIP] += length;
    fake_of(hw)->reg[REG_SHADOW] = 0;
}

static void flush(struct vcpu_hw *hw) { fake_of(hw)->flushes++; }

static bool arm_timer(struct vcpu_hw *hw, u64 deadline) {
    (void)hw;
    fake_cpu.armed = deadline;
    return fake_cpu.timer;
}

static void dump(struct vcpu_hw *hw, char *out, size_t size) {
    fmt(out, size, "fake: entries %u", fake_of(hw)->entries);
}

/* The processor says Intel, so this is the one that core takes. */
const struct vendor_ops vmx_ops = {
    .name = "fake",
    .stage2 = &pt_ept,
    .block_bytes = 4096,
    .io_bitmap_bytes = 8192,
    .msr_bitmap_bytes = 4096,
    .guest_tr = true,
    .probe = probe,
    .cpu_enable = cpu_enable,
    .cpu_disable = cpu_disable,
    .partition_init = partition_init,
    .allow_port = allow_port,
    .allow_msr = allow_msr,
    .vcpu_init = vcpu_init,
    .vcpu_reset = vcpu_reset,
    .run = run,
    .idle = idle,
    .get_reg = get_reg,
    .set_reg = set_reg,
    .code_address = code_address,
    .get_context = get_context,
    .get_seg = get_seg,
    .set_seg = set_seg,
    .inject = inject,
    .can_inject = can_inject,
    .window = window,
    .post = post,
    .skip = skip,
    .arm_timer = arm_timer,
    .flush = flush,
    .dump = dump,
};
const struct vendor_ops svm_ops = {.name = "absent"};
