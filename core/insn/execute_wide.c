/* Moves of more than eight bytes: vector registers, MOVDIR64B. Owns nothing. See execute.c. */
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/alu.h"
#include "core/insn/execute_impl.h"

/* What is wider than a register, in pieces of 8 bytes; data has room for them. */
static int wide_read(const struct execution *x, struct place at, u32 size, u64 *data) {
    int error = 0;

    for (u32 done = 0; done < size && !error; done += 8, at.offset += 8)
        error = exec_read(x, at, size < 8 ? size : 8, data + done / 8);
    return error;
}

static int wide_probe(const struct execution *x, struct place at, u32 size) {
    int error = 0;

    for (u32 done = 0; done < size && !error; done += 8, at.offset += 8) error = exec_probe(x, at, size < 8 ? size : 8);
    return error;
}

static int wide_write(const struct execution *x, struct place at, u32 size, const u64 *data) {
    int error = 0;

    for (u32 done = 0; done < size && !error; done += 8, at.offset += 8)
        error = exec_write(x, at, size < 8 ? size : 8, data[done / 8]);
    return error;
}

int exec_vector(const struct execution *x) {
    const struct insn *i = x->insn;
    struct place at = exec_place(i, x->cpu, 0);
    u64 data[4] = {0};
    int error;

    if (!x->bus->vector) return -E_UNSUPPORTED;
    /* SDM Vol 2, Exceptions Type 1. */
    if (i->aligned && (exec_linear(x->cpu, at) & (i->size - 1u))) return exec_raise(x, VEC_GP);
    if (!i->to_memory) {
        error = wide_read(x, at, i->size, data);
        return error ? error : x->bus->vector(x->bus->ctx, i, data);
    }
    error = x->bus->vector(x->bus->ctx, i, data);
    if (!error && i->size > 8) error = wide_probe(x, at, i->size);
    return error ? error : wide_write(x, at, i->size, data);
}

/* SDM Vol 2B, MOVDIR64B: to the address in the register, which has the address size. */
int exec_movdir64b(const struct execution *x) {
    const struct insn *i = x->insn;
    struct place to = {SEG_ES, x->cpu->gpr[i->reg & 15] & alu_mask(i->address_size)};
    u64 data[8];
    int error;

    if (exec_linear(x->cpu, to) & 63) return exec_raise(x, VEC_GP);
    error = wide_probe(x, to, 64);
    if (!error) error = wide_read(x, exec_place(i, x->cpu, 0), 64, data);
    return error ? error : wide_write(x, to, 64, data);
}
