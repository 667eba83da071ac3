/* Carries out one decoded instruction on registers and memory that arrive as parameters. Owns
 * nothing. Order within each instruction: everything that can fault first (probes, then reads, port
 * input last of the reads), then the one write, then registers; so a fault leaves no trace.
 * Segments, alignment and, behind the bus, pages are checked for each operand: of an instruction with two the CPU may
 * have tried one only, and of INS and OUTS none. SDM Vol 3C, Relative Priority of Faults and VM Exits; APM Vol 2, IOIO
 * Intercepts: only IOPL and the TSS's bitmap come before the exit. A read-modify-write is not atomic against other
 * vCPUs: it is meant for device memory. Source: SDM Vol 2, instruction reference; SDM Vol 1, Addressing. */
#include "core/insn/insn.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/alu.h"
#include "core/insn/execute_impl.h"

#define CODE        BIT(3) /* segment attributes. SDM Vol 3A, Code- and Data-Segment Descriptor Types */
#define EXPAND_DOWN BIT(2) /* of data */
#define ALLOWS      BIT(1) /* data: writing; code: reading */
#define BIG         BIT(14)

#define REG_A  0u
#define REG_C  1u
#define REG_D  2u
#define REG_SP 4u
#define REG_SI 6u
#define REG_DI 7u

static u64 reg_read(const struct insn_cpu *cpu, u8 reg, bool high, u32 size) {
    return (cpu->gpr[reg & 15] >> (high ? 8 : 0)) & alu_mask(size);
}

/* Writes to 32 bits clear the upper half, narrower ones leave the rest alone. SDM Vol 1,
 * General-Purpose Registers in 64-Bit Mode. */
static void reg_write(struct insn_cpu *cpu, u8 reg, bool high, u32 size, u64 value) {
    u64 *r = &cpu->gpr[reg & 15];
    u32 shift = high ? 8 : 0;
    u64 mask = alu_mask(size) << shift;

    if (size >= 4)
        *r = value & mask;
    else
        *r = (*r & ~mask) | ((value << shift) & mask);
}

struct place exec_place(const struct insn *insn, const struct insn_cpu *cpu, u64 add) {
    u64 offset = (u64)insn->disp + add;

    if (insn->base == INSN_REG_RIP)
        offset += cpu->rip + insn->length;
    else if (insn->base != INSN_NO_REG)
        offset += cpu->gpr[insn->base & 15];
    if (insn->index != INSN_NO_REG) offset += cpu->gpr[insn->index & 15] * insn->scale;
    return (struct place){insn->seg, offset & alu_mask(insn->address_size)};
}

/* In 64-bit mode only FS and GS have a base; elsewhere linear addresses have 32 bits. */
u64 exec_linear(const struct insn_cpu *cpu, struct place at) {
    if (cpu->mode != INSN_64) return (u32)(cpu->seg[at.seg].base + at.offset);
    return at.seg == SEG_FS || at.seg == SEG_GS ? cpu->seg[at.seg].base + at.offset : at.offset;
}

u64 insn_linear(const struct insn *insn, const struct insn_cpu *cpu) {
    return exec_linear(cpu, exec_place(insn, cpu, 0));
}

/* Outside 64-bit mode. SDM Vol 3A, Limit Checking; Type Checking; Null Segment Selector Checking. A segment of all 4
 * GiB may be left at its end. Types count in protected mode only; limits do everywhere. */
static bool reaches(const struct insn_cpu *cpu, const struct segment *s, u64 offset, u32 size, bool write) {
    bool code = s->attributes & CODE;
    u64 last = offset + size - 1;

    if (cpu->protected) {
        if (!s->usable || (write && code)) return false;
        if ((write || code) && !(s->attributes & ALLOWS)) return false;
    }
    if (!code && (s->attributes & EXPAND_DOWN))
        return offset > s->limit && last <= (s->attributes & BIG ? 0xffffffffu : 0xffffu);
    return last <= s->limit || s->limit == 0xffffffff;
}

int exec_raise(const struct execution *x, u8 vector) {
    *x->fault = (struct insn_fault){.vector = vector, .has_error = true};
    return -E_FAULT;
}

/* The linear address of an operand that the instruction may reach; or the fault. */
static int locate(const struct execution *x, struct place at, u32 size, bool write, u64 *la) {
    const struct insn_cpu *cpu = x->cpu;

    if (cpu->mode != INSN_64 && !reaches(cpu, &cpu->seg[at.seg], at.offset, size, write))
        return exec_raise(x, at.seg == SEG_SS ? VEC_SS : VEC_GP);
    *la = exec_linear(cpu, at);
    return cpu->align && (*la & (size - 1)) ? exec_raise(x, VEC_AC) : 0;
}

/* To the bus, an address that is not canonical is #GP whatever the segment. SDM Vol 3A, Interrupt 12. */
static int blame(const struct execution *x, struct place at, int error) {
    if (error == -E_FAULT && at.seg == SEG_SS && x->fault->vector == VEC_GP) x->fault->vector = VEC_SS;
    return error;
}

int exec_read(const struct execution *x, struct place at, u32 size, u64 *value) {
    u64 la;
    int error = locate(x, at, size, false, &la);

    if (error) return error;
    error = x->bus->read(x->bus->ctx, la, size, value, x->fault);
    if (!error) *value &= alu_mask(size);
    return blame(x, at, error);
}

int exec_write(const struct execution *x, struct place at, u32 size, u64 value) {
    u64 la;
    int error = locate(x, at, size, true, &la);

    if (error) return error;
    return blame(x, at, x->bus->write(x->bus->ctx, la, size, value & alu_mask(size), x->fault));
}

int exec_probe(const struct execution *x, struct place at, u32 size) {
    u64 la;
    int error = locate(x, at, size, true, &la);

    return error ? error : blame(x, at, x->bus->probe_write(x->bus->ctx, la, size, x->fault));
}

static int rm_read(const struct execution *x, struct place at, u32 size, u64 *value) {
    if (x->insn->memory) return exec_read(x, at, size, value);
    *value = reg_read(x->cpu, x->insn->rm, x->insn->rm_high, size);
    return 0;
}

static int rm_write(const struct execution *x, struct place at, u32 size, u64 value) {
    if (x->insn->memory) return exec_write(x, at, size, value);
    reg_write(x->cpu, x->insn->rm, x->insn->rm_high, size, value);
    return 0;
}

/* rm_read for an operand that will be written too. */
static int rm_read_for_write(const struct execution *x, struct place at, u32 size, u64 *value) {
    if (x->insn->memory) {
        int error = exec_probe(x, at, size);

        if (error) return error;
    }
    return rm_read(x, at, size, value);
}

static u64 other_operand(const struct execution *x) {
    const struct insn *i = x->insn;

    if (i->op == INSN_MOV_FROM_SEG) return x->cpu->seg[i->reg].selector;
    return i->has_imm ? i->imm & alu_mask(i->size) : reg_read(x->cpu, i->reg, i->reg_high, i->size);
}

static u64 swapped(u64 value, u32 size) { return __builtin_bswap64(value) >> (64 - 8 * size); }

static int do_mov(const struct execution *x) {
    const struct insn *i = x->insn;
    struct place at = exec_place(i, x->cpu, 0);
    u32 from = i->op == INSN_MOVZX || i->op == INSN_MOVSX ? i->src_size : i->size;
    u64 value;
    int error;

    if (i->to_memory) {
        value = other_operand(x);
        return rm_write(x, at, i->size, i->op == INSN_MOVBE ? swapped(value, i->size) : value);
    }
    error = rm_read(x, at, from, &value);
    if (error) return error;
    if (i->op == INSN_MOVSX) value = (u64)((s64)(value << (64 - 8 * from)) >> (64 - 8 * from));
    if (i->op == INSN_MOVBE) value = swapped(value, from);
    reg_write(x->cpu, i->reg, i->reg_high, i->size, value);
    return 0;
}

/* The descriptor is for the caller to find. */
static int do_load_segment(const struct execution *x) {
    u64 value;
    int error = rm_read(x, exec_place(x->insn, x->cpu, 0), 2, &value);

    if (!error) x->cpu->selector = (u16)value;
    return error;
}

/* ADD to CMP, and TEST. The destination is rm (to_memory) or the register; with an immediate and no
 * rm (accumulator forms) also the register. */
static int do_binary(const struct execution *x) {
    const struct insn *i = x->insn;
    bool keep = i->op != INSN_CMP && i->op != INSN_TEST;
    struct place at = exec_place(i, x->cpu, 0);
    u64 a, b, flags = x->cpu->rflags;
    int error = 0;

    if (i->to_memory) {
        error = keep ? rm_read_for_write(x, at, i->size, &a) : rm_read(x, at, i->size, &a);
        b = other_operand(x);
    } else {
        a = reg_read(x->cpu, i->reg, i->reg_high, i->size);
        if (i->has_imm)
            b = i->imm;
        else
            error = rm_read(x, at, i->size, &b);
    }
    if (error) return error;
    a = alu_binary(i->op, a, b, i->size, &flags);
    if (keep && i->to_memory)
        error = rm_write(x, at, i->size, a);
    else if (keep)
        reg_write(x->cpu, i->reg, i->reg_high, i->size, a);
    if (!error) x->cpu->rflags = flags;
    return error;
}

static int do_unary(const struct execution *x) {
    const struct insn *i = x->insn;
    struct place at = exec_place(i, x->cpu, 0);
    u64 a, flags = x->cpu->rflags;
    int error = rm_read_for_write(x, at, i->size, &a);

    if (error) return error;
    a = alu_unary(i->op, a, i->size, &flags);
    error = rm_write(x, at, i->size, a);
    if (!error) x->cpu->rflags = flags;
    return error;
}

/* XCHG and XADD: the register gets what rm held. rm is written last in XADD of a register with
 * itself (the sum stays) and does not matter in XCHG. */
static int do_exchange(const struct execution *x) {
    const struct insn *i = x->insn;
    struct place at = exec_place(i, x->cpu, 0);
    u64 old, value, flags = x->cpu->rflags;
    int error = rm_read_for_write(x, at, i->size, &old);

    if (error) return error;
    value = reg_read(x->cpu, i->reg, i->reg_high, i->size);
    if (i->op == INSN_XADD) value = alu_binary(INSN_ADD, old, value, i->size, &flags);
    if (i->memory) {
        error = exec_write(x, at, i->size, value);
        if (error) return error;
    }
    reg_write(x->cpu, i->reg, i->reg_high, i->size, old);
    if (!i->memory) reg_write(x->cpu, i->rm, i->rm_high, i->size, value);
    x->cpu->rflags = flags;
    return 0;
}

/* Memory is written in either case: with the old value if the comparison fails. SDM Vol 2A,
 * CMPXCHG. Registers are written only where they change: a 32-bit write of the same value would
 * clear the upper half. */
static int do_cmpxchg(const struct execution *x) {
    const struct insn *i = x->insn;
    struct place at = exec_place(i, x->cpu, 0);
    u64 old, flags = x->cpu->rflags, difference;
    int error = rm_read_for_write(x, at, i->size, &old);
    bool equal;

    if (error) return error;
    difference = alu_binary(INSN_CMP, reg_read(x->cpu, REG_A, false, i->size), old, i->size, &flags);
    equal = difference == 0;
    if (i->memory || equal) error = rm_write(x, at, i->size, equal ? other_operand(x) : old);
    if (error) return error;
    if (!equal) reg_write(x->cpu, REG_A, false, i->size, old);
    x->cpu->rflags = flags;
    return 0;
}

/* A bit offset in a register is signed and reaches beyond the operand in memory; an immediate one
 * and one into a register are taken modulo the width. SDM Vol 2A, BT; Vol 1, Bit Strings. */
static int do_bit(const struct execution *x) {
    const struct insn *i = x->insn;
    u32 width = 8u * i->size, bit;
    struct place at;
    u64 offset = other_operand(x), add = 0, value, flags = x->cpu->rflags;
    int error;

    if (i->memory && !i->has_imm) {
        s64 wide = (s64)(offset << (64 - width)) >> (64 - width);

        /* Rounds toward minus infinity: the bit number within the word stays positive. */
        add = (u64)(wide >> (i->size == 2 ? 4 : i->size == 4 ? 5 : 6)) * i->size;
    }
    bit = (u32)offset & (width - 1);
    at = exec_place(i, x->cpu, add);
    if (i->op == INSN_BT)
        error = rm_read(x, at, i->size, &value);
    else
        error = rm_read_for_write(x, at, i->size, &value);
    if (error) return error;
    value = alu_bit(i->op, value, bit, &flags);
    if (i->op != INSN_BT) error = rm_write(x, at, i->size, value);
    if (!error) x->cpu->rflags = flags;
    return error;
}

/* Outside 64-bit mode the stack segment says how wide its pointer is. SDM Vol 1, Address-Size Attributes for Stack. */
static u32 stack_width(const struct insn_cpu *cpu) {
    return cpu->mode == INSN_64 ? 8 : cpu->seg[SEG_SS].attributes & BIG ? 4 : 2;
}

static int do_push(const struct execution *x) {
    const struct insn *i = x->insn;
    u32 width = stack_width(x->cpu);
    u64 sp = (x->cpu->gpr[REG_SP] - i->size) & alu_mask(width), value = i->imm;
    struct place at = {SEG_SS, sp};
    int error = 0;

    if (!i->has_imm) {
        if (i->memory) error = exec_probe(x, at, i->size);
        if (!error) error = rm_read(x, exec_place(i, x->cpu, 0), i->size, &value);
    }
    if (!error) error = exec_write(x, at, i->size, value);
    if (!error) reg_write(x->cpu, REG_SP, false, width, sp);
    return error;
}

/* An address based on the stack pointer sees it after the increment; POP of the stack pointer keeps
 * what was popped. SDM Vol 2B, POP. */
static int do_pop(const struct execution *x) {
    const struct insn *i = x->insn;
    u32 width = stack_width(x->cpu);
    u64 sp = x->cpu->gpr[REG_SP] & alu_mask(width);
    struct place at = exec_place(i, x->cpu, i->base == REG_SP ? i->size : 0);
    u64 value;
    int error = 0;

    if (i->memory) error = exec_probe(x, at, i->size);
    if (!error) error = exec_read(x, (struct place){SEG_SS, sp}, i->size, &value);
    if (!error && i->memory) error = exec_write(x, at, i->size, value);
    if (error) return error;
    reg_write(x->cpu, REG_SP, false, width, sp + i->size);
    if (!i->memory) reg_write(x->cpu, i->rm, false, i->size, value);
    return 0;
}

static int do_port(const struct execution *x) {
    const struct insn *i = x->insn;
    u16 port = (u16)(i->has_imm ? i->imm : x->cpu->gpr[REG_D]);
    u32 value = 0;
    int error;

    if (i->op == INSN_OUT) {
        value = (u32)reg_read(x->cpu, REG_A, false, i->size);
        return x->bus->out(x->bus->ctx, port, i->size, value, x->fault);
    }
    error = x->bus->in(x->bus->ctx, port, i->size, &value, x->fault);
    if (!error) reg_write(x->cpu, REG_A, false, i->size, value);
    return error;
}

/* One element of a string instruction: memory, ports and flags, without the index registers. */
static int string_element(const struct execution *x) {
    const struct insn *i = x->insn;
    struct insn_cpu *cpu = x->cpu;
    u64 mask = alu_mask(i->address_size), a = 0, b = 0;
    struct place source = {i->seg, cpu->gpr[REG_SI] & mask}, target = {SEG_ES, cpu->gpr[REG_DI] & mask};
    u16 port = (u16)cpu->gpr[REG_D];
    u32 value = 0;
    int error;

    switch (i->op) {
    case INSN_MOVS:
        error = exec_probe(x, target, i->size);
        if (!error) error = exec_read(x, source, i->size, &a);
        return error ? error : exec_write(x, target, i->size, a);
    case INSN_STOS: return exec_write(x, target, i->size, reg_read(cpu, REG_A, false, i->size));
    case INSN_LODS:
        error = exec_read(x, source, i->size, &a);
        if (!error) reg_write(cpu, REG_A, false, i->size, a);
        return error;
    case INSN_CMPS:
        error = exec_read(x, source, i->size, &a);
        if (!error) error = exec_read(x, target, i->size, &b);
        break;
    case INSN_SCAS:
        a = reg_read(cpu, REG_A, false, i->size);
        error = exec_read(x, target, i->size, &b);
        break;
    case INSN_INS:
        error = exec_probe(x, target, i->size);
        if (!error) error = x->bus->in(x->bus->ctx, port, i->size, &value, x->fault);
        return error ? error : exec_write(x, target, i->size, value);
    default: /* OUTS */
        error = exec_read(x, source, i->size, &a);
        return error ? error : x->bus->out(x->bus->ctx, port, i->size, (u32)a, x->fault);
    }
    if (!error) alu_binary(INSN_CMP, a, b, i->size, &cpu->rflags);
    return error;
}

/* The index register moves within the address size. */
static void step(const struct execution *x, u8 reg) {
    u64 by = x->cpu->rflags & RFLAGS_DF ? -(u64)x->insn->size : x->insn->size;

    reg_write(x->cpu, reg, false, x->insn->address_size, x->cpu->gpr[reg] + by);
}

/* SDM Vol 2B, REP/REPE/REPZ/REPNE/REPNZ. F2 repeats like F3 where there is nothing to compare.
 * *more: rip must stay. */
static int do_string(const struct execution *x, bool *more) {
    const struct insn *i = x->insn;
    struct insn_cpu *cpu = x->cpu;
    bool repeat = i->rep || i->repne, compares = i->op == INSN_CMPS || i->op == INSN_SCAS;
    u64 count = reg_read(cpu, REG_C, false, i->address_size);
    int error;

    if (repeat && count == 0) return 0;
    error = string_element(x);
    if (error) return error;
    if (i->op == INSN_MOVS || i->op == INSN_LODS || i->op == INSN_CMPS || i->op == INSN_OUTS) step(x, REG_SI);
    if (i->op != INSN_LODS && i->op != INSN_OUTS) step(x, REG_DI);
    if (!repeat) return 0;
    reg_write(cpu, REG_C, false, i->address_size, count - 1);
    *more = count != 1;
    if (compares && !!(cpu->rflags & RFLAGS_ZF) != i->rep) *more = false;
    return 0;
}

static int dispatch(const struct execution *x, bool *more) {
    switch (x->insn->op) {
    case INSN_MOV ... INSN_MOV_FROM_SEG: return do_mov(x);
    case INSN_MOVS ... INSN_SCAS:
    case INSN_INS ... INSN_OUTS: return do_string(x, more);
    case INSN_ADD ... INSN_TEST: return do_binary(x);
    case INSN_INC ... INSN_NEG: return do_unary(x);
    case INSN_CMPXCHG: return do_cmpxchg(x);
    case INSN_XCHG:
    case INSN_XADD: return do_exchange(x);
    case INSN_BT ... INSN_BTC: return do_bit(x);
    case INSN_PUSH: return do_push(x);
    case INSN_POP: return do_pop(x);
    case INSN_IN:
    case INSN_OUT: return do_port(x);
    case INSN_MOV_TO_SEG: return do_load_segment(x);
    case INSN_VMOV: return exec_vector(x);
    case INSN_MOVDIR64B: return exec_movdir64b(x);
    default: return -E_UNSUPPORTED;
    }
}

int insn_execute(const struct insn *insn, struct insn_cpu *cpu, const struct insn_bus *bus, struct insn_fault *fault) {
    struct execution x = {.insn = insn, .cpu = cpu, .bus = bus, .fault = fault};
    bool input = insn->op == INSN_IN || insn->op == INSN_INS;
    bool output = insn->op == INSN_OUT || insn->op == INSN_OUTS;
    bool more = false;
    int error;

    if ((input && !bus->in) || (output && !bus->out)) return -E_UNSUPPORTED;
    error = dispatch(&x, &more);
    if (error || more) return error;
    cpu->rip += insn->length;
    if (cpu->mode != INSN_64) cpu->rip = (u32)cpu->rip;
    cpu->rflags &= ~RFLAGS_RF;
    return 0;
}
