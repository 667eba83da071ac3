#include "core/guest.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "core/exits.h"
#include "core/insn/insn.h"
#include "core/insn/known.h"
#include "core/insn/task.h"
#include "core/insn/walk.h"
#include "core/machine.h"
#include "core/partition.h"

#define DR6_BT    BIT(15) /* SDM Vol 3B, Debug Status Register: task switch */
#define DR7_LOCAL 0x155   /* L0 to L3 and LE: SDM Vol 3A, Task Switching, clears them */

#define PDPTE_PRESENT  BIT(0)
#define PDPTE_RESERVED 0x1e6ull /* bits 2:1 and 8:5, below the address */

/* --- fetch and decode --- */

static enum insn_mode mode_of(const struct vcpu_context *c) {
    if ((c->efer & EFER_LMA) && c->cs_long) return INSN_64;
    return c->cs_big ? INSN_32 : INSN_16;
}

/* Where CS:rip points: the segment's base does not count in 64-bit mode. */
static u64 fetch_address(const struct vcpu_context *c, enum insn_mode mode) {
    if (mode == INSN_64) return c->rip;
    return (u32)(c->cs_base + (mode == INSN_16 && !(c->cr0 & CR0_PE) ? (u16)c->rip : (u32)c->rip));
}

static struct walk_cpu walk_of(const struct vcpu_context *c) {
    return (struct walk_cpu){
        .cr0 = c->cr0, .cr3 = c->cr3, .cr4 = c->cr4, .efer = c->efer, .rflags = c->rflags, .cpl = c->cpl};
}

/* Fetches and decodes at rip. Returns what insn_decode returned; -E_FAULT with *fault; or -E_RANGE. */
static int fetch_decode(struct vcpu *v, struct vcpu_context *c, struct insn *insn, struct insn_fault *fault) {
    u8 bytes[INSN_MAX];
    struct walk_cpu walk;
    enum insn_mode mode;
    int count, error;

    machine.vendor->get_context(&v->hw, c);
    mode = mode_of(c);
    walk = walk_of(c);
    count = walk_fetch(&v->partition->memory, &walk, fetch_address(c, mode), bytes, INSN_MAX, fault);
    if (count < 0) return count;
    error = insn_decode(bytes, (size_t)count, mode, insn);
    if (error != -E_TRUNCATED) return error;
    /* The instruction goes on where nothing can be fetched: that fetch's fault is the guest's. */
    count = walk_fetch(&v->partition->memory, &walk, fetch_address(c, mode) + (u32)count, bytes, 1, fault);
    return count < 0 ? count : -E_INVAL;
}

static void raise_fault(struct vcpu *v, const struct insn_fault *fault) {
    if (fault->vector == VEC_PF) machine.vendor->set_reg(&v->hw, REG_CR2, fault->cr2);
    vcpu_raise(v, fault->vector, fault->has_error, fault->error);
}

/* What to do when an instruction could not be carried out. */
static void fail(struct vcpu *v, int error, const struct insn_fault *fault, const struct vm_exit *exit) {
    if (error == -E_FAULT)
        raise_fault(v, fault);
    else if (error == -E_INVAL)
        vcpu_raise_ud(v);
    else if (error == -E_RANGE)
        exit_crash(v, exit, "the guest's page tables or code lie outside its memory");
    else
        exit_crash(v, exit, "an instruction on device memory that is not emulated");
}

/* What stands at rip when these exits happen; for the others length 0, which is no answer. */
static const struct insn_opcode opcodes[EXIT_REASONS] = {
    [EXIT_CPUID] = {0xffff, 0xa20f, 2},      [EXIT_HLT] = {0xff, 0xf4, 1},        [EXIT_RDMSR] = {0xffff, 0x320f, 2},
    [EXIT_WRMSR] = {0xffff, 0x300f, 2},      [EXIT_WBINVD] = {0xfeff, 0x080f, 2}, /* INVD, WBINVD */
    [EXIT_XSETBV] = {0xffffff, 0xd1010f, 3},
};

/* With five levels of tables the short way begins here, so that it costs nothing where there are four. */
static __attribute__((noinline)) u32 decoded_length(struct vcpu *v, const struct vm_exit *exit) {
    struct vcpu_context c;
    struct insn_fault fault;
    struct insn insn;
    const u8 *bytes = NULL;
    u32 known = 0;
    int error;

    machine.vendor->get_context(&v->hw, &c);
    if ((c.cr4 & CR4_LA57) && mode_of(&c) == INSN_64) bytes = walk_code(&v->partition->code, c.cr3, c.rip, true);
    if (bytes) known = insn_known_length(bytes, &opcodes[exit->reason], true);
    if (known) return known;
    error = fetch_decode(v, &c, &insn, &fault);
    if (error == 0) return insn.length;
    fail(v, error, &fault, exit);
    return 0;
}

u32 guest_instruction_length(struct vcpu *v, const struct vm_exit *exit) {
    struct code_address code = machine.vendor->code_address(&v->hw);
    const u8 *bytes = code.la ? walk_code(&v->partition->code, code.cr3, code.la, false) : NULL;
    u32 length;

    if (bytes) {
        length = insn_known_length(bytes, &opcodes[exit->reason], true);
        if (length) return length;
    }
    return decoded_length(v, exit);
}

/* MOV to or from a control register in 64-bit code, without any prefix but REX: the usual case. */
static bool quick_cr(struct vcpu *v, struct vm_exit *exit) {
    struct code_address code = machine.vendor->code_address(&v->hw);
    const u8 *b = code.la ? walk_code(&v->partition->code, code.cr3, code.la, false) : NULL;
    u8 rex = b && *b >> 4 == 4 ? *b++ : 0;

    if (!b || b[0] != 0x0f || (b[1] & 0xfd) != 0x20) return false;
    exit->length = rex ? 4 : 3;
    exit->cr.known = true;
    exit->cr.number = (u8)((b[2] >> 3 & 7) | (rex << 1 & 8));
    exit->cr.gpr = (u8)((b[2] & 7) | (rex << 3 & 8));
    exit->cr.write = b[1] & 2;
    exit->cr.clts = exit->cr.lmsw = false;
    return true;
}

bool guest_decode_cr(struct vcpu *v, struct vm_exit *exit) {
    struct vcpu_context c;
    struct insn_fault fault;
    struct insn insn;
    int error;

    if (quick_cr(v, exit)) return true;
    error = fetch_decode(v, &c, &insn, &fault);
    if (error) {
        fail(v, error, &fault, exit);
        return false;
    }
    /* Another vCPU may have changed the instruction since the exit: then it is run again. */
    if (insn.op != INSN_MOV_FROM_CR && insn.op != INSN_MOV_TO_CR && insn.op != INSN_CLTS) return false;
    exit->length = insn.length;
    exit->cr.known = true;
    exit->cr.number = insn.reg;
    exit->cr.gpr = insn.rm;
    exit->cr.write = insn.op != INSN_MOV_FROM_CR;
    exit->cr.clts = insn.op == INSN_CLTS;
    exit->cr.lmsw = false;
    return true;
}

void guest_instruction_text(struct vcpu *v, char *out, size_t size) {
    u8 bytes[INSN_MAX];
    struct vcpu_context c;
    struct insn_fault fault;
    struct walk_cpu walk;
    size_t at = 0;
    int count;

    machine.vendor->get_context(&v->hw, &c);
    walk = walk_of(&c);
    count = walk_fetch(&v->partition->memory, &walk, fetch_address(&c, mode_of(&c)), bytes, INSN_MAX, &fault);
    fmt(out, size, "unreadable");
    for (int i = 0; i < count; i++) at += fmt(out + at, size - at, "%02x ", bytes[i]);
}

/* --- emulation --- */

struct access {
    struct vcpu *v;
    struct walk_cpu walk;
};

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

    if (first == size) return write_piece(ctx, la, size, value, fault);
    error = probe_write(ctx, la, size, fault);
    for (u32 i = 0; i < size && !error; i++) error = write_piece(ctx, la + i, 1, value >> (8 * i) & 0xff, fault);
    return error;
}

static int bus_in(void *ctx, u16 port, u32 size, u32 *value, struct insn_fault *fault) {
    (void)fault;
    *value = partition_port_in(((struct access *)ctx)->v, port, size);
    return 0;
}

static int bus_out(void *ctx, u16 port, u32 size, u32 value, struct insn_fault *fault) {
    (void)fault;
    partition_port_out(((struct access *)ctx)->v, port, size, value);
    return 0;
}

/* Only the bases that the instruction can use: its own segment's, ES for the destination of a string, SS for the stack.
 */
static void load_cpu(struct vcpu *v, const struct vcpu_context *c, const struct insn *insn, struct insn_cpu *cpu) {
    static const enum vcpu_seg order[SEG_COUNT] = {VSEG_ES, VSEG_CS, VSEG_SS, VSEG_DS, VSEG_FS, VSEG_GS};
    struct segment s;

    memcpy(cpu->gpr, v->hw.gpr, sizeof(cpu->gpr));
    cpu->gpr[4] = machine.vendor->get_reg(&v->hw, REG_RSP);
    cpu->rip = c->rip;
    cpu->rflags = c->rflags;
    cpu->mode = mode_of(c);
    cpu->cpl = c->cpl;
    for (u32 i = 0; i < SEG_COUNT; i++) {
        cpu->seg_base[i] = 0;
        if (i != insn->seg && i != SEG_ES && i != SEG_SS) continue;
        /* In 64-bit mode only FS and GS have a base. */
        if (cpu->mode == INSN_64 && i != SEG_FS && i != SEG_GS) continue;
        machine.vendor->get_seg(&v->hw, order[i], &s);
        cpu->seg_base[i] = s.base;
    }
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
        &access, bus_read, bus_write, probe_write, port ? bus_in : NULL, port ? bus_out : NULL};
    struct vcpu_context c;
    struct insn_fault fault;
    struct insn_cpu cpu;
    struct insn insn;
    int error = fetch_decode(v, &c, &insn, &fault);

    if (!error) {
        access.walk = walk_of(&c);
        load_cpu(v, &c, &insn, &cpu);
        error = insn_execute(&insn, &cpu, &bus, &fault);
    }
    if (error)
        fail(v, error, &fault, exit);
    else
        store_cpu(v, &c, &cpu, insn.length);
}

/* --- PDPTEs and task switches --- */

bool guest_load_pdptes(struct vcpu *v, u64 cr3) {
    u64 entries[4], reserved = PDPTE_RESERVED | ~(BIT(v->cpuid.ext[8].regs.eax & 0xff) - 1);

    if (gmem_read(&v->partition->memory, gpa(cr3 & 0xffffffe0), entries, sizeof(entries))) return false;
    for (u32 i = 0; i < ARRAY_SIZE(entries); i++)
        if ((entries[i] & PDPTE_PRESENT) && (entries[i] & reserved)) return false;
    for (u32 i = 0; i < ARRAY_SIZE(entries); i++) machine.vendor->set_reg(&v->hw, REG_PDPTE0 + i, entries[i]);
    return true;
}

static bool use_cr3(void *ctx, u32 cr3) {
    struct access *a = ctx;

    a->walk.cr3 = cr3;
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
    v->hw.interrupted.type = EVENT_NONE;
}

void guest_task_switch(struct vcpu *v, const struct vm_exit *exit) {
    const struct vm_event *e = &v->hw.interrupted;
    struct access access = {.v = v};
    const struct insn_bus bus = {&access, bus_read, bus_write, probe_write, NULL, NULL};
    struct task_request rq = {exit->task.selector, exit->task.source, 0, e->has_error, e->error, use_cr3};
    struct task_cpu cpu = {0};
    struct vcpu_context c;
    struct insn_fault fault;
    bool switched;
    int error;

    machine.vendor->get_context(&v->hw, &c);
    access.walk = walk_of(&c);
    access.walk.cpl = 0;
    rq.return_eip = (u32)c.rip + exit->length;
    rq.has_error = e->type == EVENT_EXCEPTION && e->has_error;
    for (u32 i = 0; i < 8; i++) cpu.gpr[i] = (u32)v->hw.gpr[i];
    cpu.gpr[4] = (u32)machine.vendor->get_reg(&v->hw, REG_RSP);
    cpu.eflags = (u32)c.rflags;
    cpu.cr3 = (u32)c.cr3;
    cpu.paging = c.cr0 & CR0_PG;
    for (enum vcpu_seg i = VSEG_ES; i <= VSEG_GDTR; i++) machine.vendor->get_seg(&v->hw, i, &cpu.seg[i]);
    error = task_switch(&cpu, &rq, &bus, &switched, &fault);
    if (switched) store_task(v, &c, &cpu);
    if (error) {
        fail(v, error, &fault, exit);
    } else if (cpu.debug_trap) {
        machine.vendor->set_reg(&v->hw, REG_DR6, machine.vendor->get_reg(&v->hw, REG_DR6) | DR6_BT);
        vcpu_raise(v, VEC_DB, false, 0);
    }
}

/* --- start --- */

void guest_set_start_state(struct vcpu *v, const struct start_state *s) {
    const struct vendor_ops *ops = machine.vendor;
    const struct segment gdtr = {.limit = s->gdt_bytes - 1, .base = s->gdt.v};
    /* Where an entry lies above 64 KiB, real mode begins at offset 0 to 15. */
    u64 paragraph = s->rip > 0xffff ? s->rip >> 4 : 0;
    const struct segment real = {
        .selector = (u16)paragraph, .attributes = 0x93, .usable = true, .limit = 0xffff, .base = paragraph << 4};
    const struct segment flat = {.selector = 0x18, .attributes = 0xc093, .usable = true, .limit = 0xffffffff};
    struct segment data = s->mode == START_REAL ? real : flat, code = data, stack = data;

    if (s->mode == START_RESET) return;
    if (s->mode == START_REAL) {
        code.attributes = 0x9b;
        stack.selector = (u16)(BOOT_AREA_BASE >> 4);
        stack.base = BOOT_AREA_BASE;
    } else {
        code.selector = s->mode == START_LONG ? 0x10 : 0x08;
        code.attributes = s->mode == START_LONG ? 0xa09b : 0xc09b;
        ops->set_seg(&v->hw, VSEG_GDTR, &gdtr);
        ops->set_seg(&v->hw, VSEG_TR, &(struct segment){.attributes = 0x8b, .usable = true, .limit = 0x67});
    }
    for (enum vcpu_seg i = VSEG_ES; i <= VSEG_GS; i++)
        ops->set_seg(&v->hw, i, i == VSEG_CS ? &code : i == VSEG_SS ? &stack : &data);
    if (s->mode == START_LONG) {
        ops->set_reg(&v->hw, REG_EFER, EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE);
        ops->set_reg(&v->hw, REG_CR4, CR4_PAE);
        ops->set_reg(&v->hw, REG_CR3, s->cr3);
        ops->set_reg(&v->hw, REG_CR0, CR0_PG | CR0_ET | CR0_NE | CR0_PE);
    } else {
        ops->set_reg(&v->hw, REG_CR0, CR0_ET | (s->mode == START_PROTECTED ? CR0_PE : 0));
    }
    ops->set_reg(&v->hw, REG_RIP, s->rip - code.base);
    ops->set_reg(&v->hw, REG_RSP, s->rsp - stack.base);
    ops->set_reg(&v->hw, REG_RFLAGS, RFLAGS_FIXED);
    v->hw.gpr[0] = s->rax;
    v->hw.gpr[2] = 0; /* a reset leaves the processor's signature there */
    v->hw.gpr[3] = s->rbx;
    v->hw.gpr[6] = s->rsi;
    v->hw.gpr[7] = s->rdi;
}

/* The one place where the hypervisor touches vector state: in assembly, since its C uses general registers only. The
 * restore image has an empty XSTATE_BV, so every component goes to its initial state (SDM Vol 1, Operation of XRSTOR).
 */
void guest_reset_extended_state(void) {
    static const u8 image[576] __attribute__((aligned(64))) = {
        [0] = 0x7f,
        [1] = 0x03, /* FCW 0x037f */
        [24] = 0x80,
        [25] = 0x1f, /* MXCSR 0x1f80 */
    };

    if (!machine.xcr0) {
        __asm__ volatile("fxrstor64 %0" ::"m"(image));
        return;
    }
    xsetbv0(machine.xcr0);
    __asm__ volatile("xrstor64 %0" ::"m"(image), "a"(0xffffffff), "d"(0xffffffff));
    xsetbv0(1);
}
