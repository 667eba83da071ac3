/* Instructions carried out for the guest: accesses to device memory and string I/O, through the guest's own page
 * tables; task switches. See guest.h. The vCPU's core. */
#include "core/guest.h"
#include "core/guest_impl.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "core/insn/task.h"
#include "core/machine.h"
#include "core/partition.h"
#include "core/vector.h"

#define DR6_BT    BIT(15) /* SDM Vol 3B, Debug Status Register: task switch */
#define DR7_LOCAL 0x155   /* L0 to L3 and LE: SDM Vol 3A, Task Switching, clears them */

#define XCR0_YMM (BIT(1) | BIT(2))

#define PDPTE_PRESENT  BIT(0)
#define PDPTE_RESERVED 0x1e6ull              /* bits 2:1 and 8:5, below the address */
#define PDPTE_ABOVE    0xfff0000000000000ull /* and 63:52 */

struct access {
    struct vcpu *v;
    struct walk_cpu walk;
    u64 dr7; /* 0: no breakpoint is enabled */
    u64 met; /* bits of DR6 */
};

u64 guest_breakpoints(struct vcpu *v, u64 dr7, u64 at, u64 bytes, u32 kinds) {
    const u64 address[4] = {read_dr0(), read_dr1(), read_dr2(), read_dr3()};
    u64 met = 0;

    if (!(machine.vendor->get_reg(&v->hw, REG_CR4) & CR4_DE)) kinds &= ~BREAK_ON_IO;
    for (u32 n = 0; n < 4; n++) {
        u32 kind = (u32)bits_get(dr7, 16 + 4 * n, 2), length = (u32)bits_get(dr7, 18 + 4 * n, 2);
        u64 watched = length == 2 ? 8 : length + 1;

        if (bits_get(dr7, 2 * n, 2) && (kinds >> kind & 1) &&
            ranges_overlap(align_down(address[n], watched), watched, at, bytes))
            met |= BIT(n);
    }
    return met;
}

static void meet(struct access *a, u64 at, u64 bytes, u32 kinds) {
    if (__builtin_expect(a->dr7 != 0, 0)) a->met |= guest_breakpoints(a->v, a->dr7, at, bytes, kinds);
}

static u32 device_read(struct vcpu *v, u64 at, u32 size) {
    if (at - GUEST_LAPIC_BASE < PAGE_4K) return vlapic_read(&v->lapic, (u32)(at - GUEST_LAPIC_BASE), vcpu_guest_tsc(v));
    if (at - GUEST_IOAPIC_BASE < PAGE_4K) return partition_ioapic_read(v, (u32)(at - GUEST_IOAPIC_BASE), size);
    return partition_memory_read(v, at, size);
}

static void device_write(struct vcpu *v, u64 at, u32 size, u32 value) {
    struct vlapic_effect fx = {0};

    if (at - GUEST_LAPIC_BASE < PAGE_4K) {
        vlapic_write(&v->lapic, (u32)(at - GUEST_LAPIC_BASE), value, vcpu_guest_tsc(v), &fx);
        vcpu_apic_effect(v, &fx);
    } else if (at - GUEST_IOAPIC_BASE < PAGE_4K) {
        partition_ioapic_write(v, (u32)(at - GUEST_IOAPIC_BASE), size, value);
    } else {
        partition_memory_write(v, at, size, value);
    }
}

static int translate(struct access *a, u64 la, u32 access, gpa_t *at, struct insn_fault *fault) {
    return walk_linear(&a->v->partition->memory, &a->walk, la, access, at, fault);
}

/* One access that does not cross a page. */
static int read_piece(struct access *a, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    const void *ram;
    gpa_t at;
    int error = translate(a, la, WALK_READ, &at, fault);

    if (error) return error;
    *value = 0;
    ram = gmem_ptr(&a->v->partition->memory, at, size, false);
    if (ram) {
        memcpy(value, ram, size);
        return 0;
    }
    if (partition_hpet(a->v, at.v, size, false, value)) return 0;
    *value = device_read(a->v, at.v, size < 4 ? size : 4);
    if (size == 8) *value |= (u64)device_read(a->v, at.v + 4, 4) << 32;
    return 0;
}

static int write_piece(struct access *a, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    void *ram;
    gpa_t at;
    int error = translate(a, la, WALK_WRITE, &at, fault);

    if (error) return error;
    ram = gmem_ptr(&a->v->partition->memory, at, size, true);
    if (ram) {
        memcpy(ram, &value, size);
        return 0;
    }
    if (partition_hpet(a->v, at.v, size, true, &value)) return 0;
    device_write(a->v, at.v, size < 4 ? size : 4, (u32)value);
    if (size == 8) device_write(a->v, at.v + 4, 4, (u32)(value >> 32));
    return 0;
}

static u32 first_part(u64 la, u32 size) { return (u32)min_u64(size, PAGE_4K - (la & (PAGE_4K - 1))); }

static int probe(void *ctx, u64 la, u32 size, u32 access, struct insn_fault *fault) {
    u32 first = first_part(la, size);
    gpa_t at;
    int error = translate(ctx, la, access, &at, fault);

    if (error || first == size) return error;
    return translate(ctx, la + first, access, &at, fault);
}

static int probe_write(void *ctx, u64 la, u32 size, struct insn_fault *fault) {
    return probe(ctx, la, size, WALK_WRITE, fault);
}

static int bus_read(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    u32 first = first_part(la, size);
    u64 byte = 0, all = 0;
    int error;

    meet(ctx, la, size, BREAK_ON_READ);
    if (first == size) return read_piece(ctx, la, size, value, fault);
    error = probe(ctx, la, size, WALK_READ, fault); /* a device must not be read for nothing */
    for (u32 i = 0; i < size && !error; i++) {
        error = read_piece(ctx, la + i, 1, &byte, fault);
        all |= (byte & 0xff) << (8 * i);
    }
    *value = all;
    return error;
}

static int bus_write(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    u32 first = first_part(la, size);
    int error;

    meet(ctx, la, size, BREAK_ON_WRITE);
    if (first == size) return write_piece(ctx, la, size, value, fault);
    error = probe_write(ctx, la, size, fault);
    for (u32 i = 0; i < size && !error; i++) error = write_piece(ctx, la + i, 1, value >> (8 * i) & 0xff, fault);
    return error;
}

static int bus_in(void *ctx, u16 port, u32 size, u32 *value, struct insn_fault *fault) {
    (void)fault;
    *value = partition_port_in(((struct access *)ctx)->v, port, size);
    meet(ctx, port, size, BREAK_ON_IO);
    return 0;
}

static int bus_out(void *ctx, u16 port, u32 size, u32 value, struct insn_fault *fault) {
    (void)fault;
    partition_port_out(((struct access *)ctx)->v, port, size, value);
    meet(ctx, port, size, BREAK_ON_IO);
    return 0;
}

/* The processor has found SSE to be on, but another vCPU may have put a VEX prefix there since. */
static int bus_vector(void *ctx, const struct insn *insn, u64 data[4]) {
    bool wide = insn->size > 16;

    (void)ctx;
    if (insn->vex && (!machine.xcr0 || (xgetbv0() & XCR0_YMM) != XCR0_YMM)) return -E_INVAL;
    if (insn->to_memory)
        vector_move(wide ? VECTOR_STORE_WIDE : VECTOR_STORE, insn->reg, data);
    else
        vector_move(wide ? VECTOR_LOAD_WIDE : insn->vex ? VECTOR_LOAD_VEX : VECTOR_LOAD, insn->reg, data);
    return 0;
}

static const enum vcpu_seg seg_order[SEG_COUNT] = {VSEG_ES, VSEG_CS, VSEG_SS, VSEG_DS, VSEG_FS, VSEG_GS};

static inline void get_segment(struct vcpu *v, struct insn_cpu *cpu, u32 seg) {
    machine.vendor->get_seg(&v->hw, seg_order[seg], &cpu->seg[seg]);
}

/* Only the segments that the instruction can use: its own, ES for the destination of a string, SS for the stack; in
 * 64-bit mode FS or GS, no others have a base. */
static void load_cpu(struct vcpu *v, const struct vcpu_context *c, const struct insn *insn, struct insn_cpu *cpu) {
    memcpy(cpu->gpr, v->hw.gpr, sizeof(cpu->gpr));
    cpu->gpr[4] = machine.vendor->get_reg(&v->hw, REG_RSP);
    cpu->rip = c->rip;
    cpu->rflags = c->rflags;
    cpu->mode = guest_mode(c);
    cpu->cpl = c->cpl;
    cpu->protected = (c->cr0 & CR0_PE) && !(c->rflags & RFLAGS_VM);
    cpu->align = (c->cr0 & CR0_AM) && (c->rflags & RFLAGS_AC) && c->cpl == 3;
    if (cpu->mode != INSN_64) {
        get_segment(v, cpu, SEG_ES);
        get_segment(v, cpu, SEG_SS);
    }
    if (cpu->mode != INSN_64 || insn->seg >= SEG_FS) get_segment(v, cpu, insn->seg);
    if (insn->op == INSN_MOV_FROM_SEG) get_segment(v, cpu, insn->reg);
}

/* The rest of a MOV to a segment register. In real mode its selector and base change, nothing else. Descriptors are
 * read with the rights of CPL 0. SDM Vol 2B, MOV; Vol 3B, Real-Address Mode: Address Translation. */
static int load_segment(struct access *a, const struct vcpu_context *c, const struct insn *insn,
                        const struct insn_cpu *cpu, const struct insn_bus *bus, struct insn_fault *fault) {
    const struct vendor_ops *ops = machine.vendor;
    enum vcpu_seg seg = seg_order[insn->reg];
    struct task_cpu loaded = {.eflags = (u32)c->rflags};
    int error;

    ops->get_seg(&a->v->hw, seg, &loaded.seg[seg]);
    loaded.seg[seg].selector = cpu->selector;
    loaded.seg[seg].base = (u64)cpu->selector << 4;
    if (c->cr0 & CR0_PE) {
        ops->get_seg(&a->v->hw, VSEG_GDTR, &loaded.seg[VSEG_GDTR]);
        ops->get_seg(&a->v->hw, VSEG_LDTR, &loaded.seg[VSEG_LDTR]);
        a->walk.cpl = 0;
        error = task_load_segment(&loaded, seg, cpu->selector, c->cpl, cpu->mode == INSN_64, bus, fault);
        if (error) return error;
    }
    ops->set_seg(&a->v->hw, seg, &loaded.seg[seg]);
    return 0;
}

static void store_cpu(struct vcpu *v, const struct vcpu_context *c, const struct insn_cpu *cpu, u32 length) {
    u64 rsp = machine.vendor->get_reg(&v->hw, REG_RSP);

    memcpy(v->hw.gpr, cpu->gpr, sizeof(cpu->gpr));
    if (cpu->gpr[4] != rsp) machine.vendor->set_reg(&v->hw, REG_RSP, cpu->gpr[4]);
    if (cpu->rflags != c->rflags) machine.vendor->set_reg(&v->hw, REG_RFLAGS, cpu->rflags);
    /* A string instruction that goes on stays where it is; a single step counts each round (SDM Vol 3B, Single-Step
     * Exception Condition). */
    machine.vendor->skip(&v->hw, cpu->rip != c->rip ? length : 0);
}

void guest_emulate(struct vcpu *v, const struct vm_exit *exit) {
    struct access access = {.v = v};
    /* Another vCPU may have changed the instruction since the exit. For memory the walk checks rights again; for ports
     * only the processor has, and only when it was a port that made it exit. */
    bool port = exit->reason == EXIT_IO;
    const struct insn_bus bus = {
        &access, bus_read, bus_write, probe_write, port ? bus_in : NULL, port ? bus_out : NULL, bus_vector};
    struct vcpu_context c;
    struct insn_fault fault;
    struct insn_cpu cpu;
    struct insn insn;
    int error = guest_fetch_decode(v, &c, &insn, &fault);

    if (!error) {
        access.walk = guest_walk(v, &c);
        access.dr7 = machine.vendor->get_reg(&v->hw, REG_DR7);
        if (!(access.dr7 & DR7_ENABLED)) access.dr7 = 0;
        load_cpu(v, &c, &insn, &cpu);
        error = insn_execute(&insn, &cpu, &bus, &fault);
    }
    if (!error && insn.op == INSN_MOV_TO_SEG) error = load_segment(&access, &c, &insn, &cpu, &bus, &fault);
    if (error) {
        guest_fail(v, error, &fault, exit);
        return;
    }
    store_cpu(v, &c, &cpu, insn.length);
    if (access.met) machine.vendor->set_reg(&v->hw, REG_BREAKPOINTS, access.met);
    if (insn.op == INSN_MOV_TO_SEG && insn.reg == SEG_SS) machine.vendor->set_reg(&v->hw, REG_SHADOW, 1);
}

/* --- PDPTEs and task switches --- */

bool guest_load_pdptes(struct vcpu *v, u64 cr3) {
    u64 entries[4], reserved = PDPTE_RESERVED | PDPTE_ABOVE | v->reserved;

    if (gmem_read(&v->partition->memory, gpa(cr3 & 0xffffffe0), entries, sizeof(entries))) return false;
    for (u32 i = 0; i < ARRAY_SIZE(entries); i++)
        if ((entries[i] & PDPTE_PRESENT) && (entries[i] & reserved)) return false;
    for (u32 i = 0; i < ARRAY_SIZE(entries); i++) machine.vendor->set_reg(&v->hw, REG_PDPTE0 + i, entries[i]);
    return true;
}

static bool use_cr3(void *ctx, u32 cr3) {
    struct access *a = ctx;

    a->walk.cr3 = cr3;
    a->walk.pdptes = NULL; /* those that are in memory are loaded now */
    return !(a->walk.cr4 & CR4_PAE) || guest_load_pdptes(a->v, cr3);
}

static void store_task(struct vcpu *v, const struct vcpu_context *c, const struct task_cpu *cpu) {
    const struct vendor_ops *ops = machine.vendor;

    for (u32 i = 0; i < 8; i++) v->hw.gpr[i] = cpu->gpr[i];
    ops->set_reg(&v->hw, REG_RSP, cpu->gpr[4]);
    ops->set_reg(&v->hw, REG_RIP, cpu->eip);
    ops->set_reg(&v->hw, REG_RFLAGS, cpu->eflags);
    ops->set_reg(&v->hw, REG_CR0, c->cr0 | CR0_TS);
    if (cpu->paging) ops->set_reg(&v->hw, REG_CR3, cpu->cr3);
    ops->set_reg(&v->hw, REG_DR7, ops->get_reg(&v->hw, REG_DR7) & ~(u64)DR7_LOCAL);
    ops->set_reg(&v->hw, REG_SHADOW, 0);
    for (enum vcpu_seg i = VSEG_ES; i <= VSEG_TR; i++) ops->set_seg(&v->hw, i, &cpu->seg[i]);
}

void guest_task_switch(struct vcpu *v, const struct vm_exit *exit) {
    const struct vm_event *e = &v->hw.interrupted;
    struct access access = {.v = v};
    const struct insn_bus bus = {&access, bus_read, bus_write, probe_write, NULL, NULL, NULL};
    struct task_request rq = {exit->task.selector, exit->task.source, .use_cr3 = use_cr3};
    struct task_cpu cpu = {0};
    struct vcpu_context c;
    struct insn_fault fault;
    bool switched;
    int error;

    machine.vendor->get_context(&v->hw, &c);
    access.walk = guest_walk(v, &c);
    access.walk.cpl = 0;
    rq.return_eip = (u32)c.rip + exit->length;
    rq.has_error = e->type == EVENT_EXCEPTION && e->has_error;
    rq.error = e->error;
    /* INT1 counts as external, INT n, INT3 and INTO do not. */
    rq.external = rq.source == TASK_GATE && e->type != EVENT_SOFT_INTERRUPT &&
                  !(e->type == EVENT_SOFT_EXCEPTION && e->vector != VEC_DB);
    for (u32 i = 0; i < 8; i++) cpu.gpr[i] = (u32)v->hw.gpr[i];
    cpu.gpr[4] = (u32)machine.vendor->get_reg(&v->hw, REG_RSP);
    cpu.eflags = (u32)c.rflags;
    cpu.cr3 = (u32)c.cr3;
    cpu.paging = c.cr0 & CR0_PG;
    for (enum vcpu_seg i = VSEG_ES; i <= VSEG_GDTR; i++) machine.vendor->get_seg(&v->hw, i, &cpu.seg[i]);
    error = task_switch(&cpu, &rq, &bus, &switched, &fault);
    if (switched) store_task(v, &c, &cpu);
    /* A fault in the new task still belongs to the delivery, and may make a double fault; then that has ended. */
    if (error) guest_fail(v, error, &fault, exit);
    if (switched) v->hw.interrupted.type = EVENT_NONE;
    if (!error && cpu.debug_trap) {
        machine.vendor->set_reg(&v->hw, REG_DR6, machine.vendor->get_reg(&v->hw, REG_DR6) | DR6_BT);
        vcpu_raise(v, VEC_DB, false, 0);
    }
}
