#include "core/guest.h"
#include "core/guest_impl.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "core/exits.h"
#include "core/insn/known.h"
#include "core/machine.h"
#include "core/partition.h"

/* --- fetch and decode --- */

enum insn_mode guest_mode(const struct vcpu_context *c) {
    if ((c->efer & EFER_LMA) && c->cs_long) return INSN_64;
    return c->cs_big ? INSN_32 : INSN_16;
}

/* Where CS:rip points: the segment's base does not count in 64-bit mode. */
static u64 fetch_address(const struct vcpu_context *c, enum insn_mode mode) {
    if (mode == INSN_64) return c->rip;
    return (u32)(c->cs_base + (mode == INSN_16 && !(c->cr0 & CR0_PE) ? (u16)c->rip : (u32)c->rip));
}

struct walk_cpu guest_walk(const struct vcpu *v, const struct vcpu_context *c) {
    return (struct walk_cpu){.cr0 = c->cr0,
                             .cr3 = c->cr3,
                             .cr4 = c->cr4,
                             .efer = c->efer,
                             .rflags = c->rflags,
                             .cpl = c->cpl,
                             .reserved = v->reserved,
                             .pdptes = c->has_pdptes ? c->pdptes : NULL};
}

int guest_fetch_decode(struct vcpu *v, struct vcpu_context *c, struct insn *insn, struct insn_fault *fault) {
    u8 bytes[INSN_MAX];
    struct walk_cpu walk;
    enum insn_mode mode;
    int count, error;

    machine.vendor->get_context(&v->hw, c);
    mode = guest_mode(c);
    walk = guest_walk(v, c);
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

void guest_fail(struct vcpu *v, int error, const struct insn_fault *fault, const struct vm_exit *exit) {
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
    if ((c.cr4 & CR4_LA57) && guest_mode(&c) == INSN_64) bytes = walk_code(&v->partition->code, c.cr3, c.rip, true);
    if (bytes) known = insn_known_length(bytes, &opcodes[exit->reason], true);
    if (known) return known;
    error = guest_fetch_decode(v, &c, &insn, &fault);
    if (error == 0) return insn.length;
    guest_fail(v, error, &fault, exit);
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
    error = guest_fetch_decode(v, &c, &insn, &fault);
    if (error) {
        guest_fail(v, error, &fault, exit);
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
    walk = guest_walk(v, &c);
    count = walk_fetch(&v->partition->memory, &walk, fetch_address(&c, guest_mode(&c)), bytes, INSN_MAX, &fault);
    fmt(out, size, "unreadable");
    for (int i = 0; i < count; i++) at += fmt(out + at, size - at, "%02x ", bytes[i]);
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

/* Vector state, which the hypervisor touches here and in vector.S: in assembly, since its C uses general registers
 * only. The restore image has an empty XSTATE_BV, so every component goes to its initial state (SDM Vol 1, Operation of
 * XRSTOR).
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
