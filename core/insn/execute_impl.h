/* Between execute.c and execute_wide.c. */
#pragma once

#include "core/insn/insn.h"

struct execution {
    const struct insn *insn;
    struct insn_cpu *cpu;
    const struct insn_bus *bus;
    struct insn_fault *fault;
};

/* Where an operand lies. */
struct place {
    enum insn_seg seg;
    u64 offset;
};

/* The memory operand. `add` goes into the effective address, before it is cut to the address size. */
struct place exec_place(const struct insn *insn, const struct insn_cpu *cpu, u64 add);
u64 exec_linear(const struct insn_cpu *cpu, struct place at);
/* Fills in the exception, with error code 0, and returns -E_FAULT. */
int exec_raise(const struct execution *x, u8 vector);
/* Memory, with all checks; size: 1, 2, 4 or 8. */
int exec_read(const struct execution *x, struct place at, u32 size, u64 *value) must_check;
int exec_write(const struct execution *x, struct place at, u32 size, u64 value) must_check;
int exec_probe(const struct execution *x, struct place at, u32 size) must_check;

int exec_vector(const struct execution *x) must_check;
int exec_movdir64b(const struct execution *x) must_check;
