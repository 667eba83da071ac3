/* Registers and a bus that writes down what happens on it, for the tests of core/insn/execute.c. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/insn.h"

#define RAX 0
#define RCX 1
#define RDX 2
#define RBX 3
#define RSP 4
#define RBP 5
#define RSI 6
#define RDI 7

/* A bus that writes down what happens on it. Memory is a small window at `base`. */
struct bench {
    struct insn_cpu cpu;
    struct insn insn;
    struct insn_fault fault;
    u64 base;
    u8 data[256];
    u32 calls, fail_at; /* fail_at: the call, from 1, that faults; 0: none */
    u8 fail_vector;     /* with this; 0: #PF */
    char log[32];       /* r, w, p, i, o in order */
    u64 last_la;
    u16 port;
    u32 out, in;
    u64 vector[4]; /* of a store, or what a load has left */
};

static inline int step(struct bench *b, char what, struct insn_fault *fault) {
    assert_true(b->calls < sizeof(b->log) - 1);
    b->log[b->calls++] = what;
    if (b->calls != b->fail_at) return 0;
    *fault = (struct insn_fault){.vector = b->fail_vector, .has_error = true};
    if (!b->fail_vector) *fault = (struct insn_fault){.vector = VEC_PF, .has_error = true, .error = 2, .cr2 = 0x1234};
    return -E_FAULT;
}

static inline u8 *at(struct bench *b, u64 la, u32 size) {
    assert_true(la >= b->base && la + size <= b->base + sizeof(b->data));
    b->last_la = la;
    return b->data + (la - b->base);
}

static inline int bus_read(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    struct bench *b = ctx;
    int error = step(b, 'r', fault);

    *value = ~0ull; /* the emulator must not trust the upper bytes */
    memcpy(value, at(b, la, size), size);
    return error;
}

static inline int bus_write(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    struct bench *b = ctx;
    int error = step(b, 'w', fault);

    if (!error) memcpy(at(b, la, size), &value, size);
    return error;
}

static inline int bus_probe(void *ctx, u64 la, u32 size, struct insn_fault *fault) {
    struct bench *b = ctx;

    at(b, la, size);
    return step(b, 'p', fault);
}

static inline int bus_in(void *ctx, u16 port, u32 size, u32 *value, struct insn_fault *fault) {
    struct bench *b = ctx;

    (void)size;
    b->port = port;
    *value = b->in;
    return step(b, 'i', fault);
}

static inline int bus_out(void *ctx, u16 port, u32 size, u32 value, struct insn_fault *fault) {
    struct bench *b = ctx;
    int error = step(b, 'o', fault);

    (void)size;
    if (!error) {
        b->port = port;
        b->out = value;
    }
    return error;
}

static inline int bus_vector(void *ctx, const struct insn *insn, u64 data[4]) {
    struct bench *b = ctx;

    if (insn->to_memory)
        memcpy(data, b->vector, sizeof(b->vector));
    else
        memcpy(b->vector, data, sizeof(b->vector));
    return 0;
}

/* Flat segments of protected mode, or, with 16 bits, those of real mode. */
static inline struct bench bench(enum insn_mode mode, const char *bytes, size_t count) {
    struct bench b = {.cpu = {.mode = mode, .rip = 0x1000, .rflags = RFLAGS_FIXED | RFLAGS_RF}, .base = 0x8000};

    for (u32 i = 0; i < SEG_COUNT; i++)
        b.cpu.seg[i] = mode == INSN_16 ? (struct segment){.attributes = 0x93, .usable = true, .limit = 0xffff}
                                       : (struct segment){.attributes = 0xc093, .usable = true, .limit = 0xffffffff};
    b.cpu.protected = mode != INSN_16;
    assert_int_equal(0, insn_decode((const u8 *)bytes, count, mode, &b.insn));
    assert_int_equal(count, b.insn.length);
    return b;
}

static inline int execute(struct bench *b) {
    struct insn_bus bus = {.ctx = b,
                           .read = bus_read,
                           .write = bus_write,
                           .probe_write = bus_probe,
                           .in = bus_in,
                           .out = bus_out,
                           .vector = bus_vector};

    return insn_execute(&b->insn, &b->cpu, &bus, &b->fault);
}

#define BENCH(mode, s) bench(mode, s, sizeof(s) - 1)

static inline void point(struct bench *b) {
    b->cpu.gpr[RBX] = 0x8010;
    b->cpu.gpr[RSI] = 0x8020;
    b->cpu.gpr[RDI] = 0x8030;
    b->cpu.gpr[RSP] = 0x8050;
    b->cpu.gpr[RCX] = 2;
    for (u32 i = 0; i < sizeof(b->data); i++) b->data[i] = (u8)(i * 5);
}
