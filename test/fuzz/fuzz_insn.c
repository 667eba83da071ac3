/* Arbitrary bytes through the decoder and the emulator. Holds: a decoded length lies within the
 * bytes given and does not depend on what follows; fewer bytes are never enough; a fault or a
 * refusal changes nothing; memory is touched only where a probe or a read was allowed. */
#include <stdlib.h>
#include <string.h>

#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/insn.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) abort();                                                                                     \
    } while (0)

struct world {
    const u8 *script; /* answers of the bus, one byte per call */
    size_t left;
    u32 writes, calls;
    u32 pieces; /* of 8 bytes; what was asked for is then not refused */
};

/* One in eight calls faults. */
static int answer(struct world *w, u32 size, struct insn_fault *fault, u8 *byte) {
    CHECK(size == 1 || size == 2 || size == 4 || size == 8);
    CHECK(++w->calls <= (w->pieces > 1 ? 3 * w->pieces : 4));
    *byte = 0;
    if (w->left) {
        *byte = *w->script++;
        w->left--;
    }
    if (*byte % 8 != 7) return 0;
    *fault = (struct insn_fault){.vector = VEC_PF, .has_error = true};
    return -E_FAULT;
}

static int bus_read(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    u8 byte;
    int error = answer(ctx, size, fault, &byte);

    *value = (la ^ byte) * 0x0101010101010101ull;
    return error;
}

static int bus_write(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    struct world *w = ctx;
    u8 byte;
    int error = answer(w, size, fault, &byte);

    (void)la;
    CHECK(size == 8 || value >> (8 * size) == 0);
    if (w->pieces > 1) error = 0;
    if (!error) CHECK(++w->writes <= w->pieces); /* one write at most */
    return error;
}

static int bus_probe(void *ctx, u64 la, u32 size, struct insn_fault *fault) {
    struct world *w = ctx;
    u8 byte;

    (void)la;
    CHECK(w->calls < w->pieces); /* before anything else */
    return answer(w, size, fault, &byte);
}

static int bus_in(void *ctx, u16 port, u32 size, u32 *value, struct insn_fault *fault) {
    u8 byte;
    int error = answer(ctx, size, fault, &byte);

    CHECK(size <= 4);
    *value = (u32)port * byte;
    return error;
}

static int bus_out(void *ctx, u16 port, u32 size, u32 value, struct insn_fault *fault) {
    u8 byte;

    (void)port;
    CHECK(size == 4 || (size < 4 && value >> (8 * size) == 0));
    return answer(ctx, size, fault, &byte);
}

static int bus_vector(void *ctx, const struct insn *insn, u64 data[4]) {
    (void)ctx;
    CHECK(insn->reg < 16 && (insn->size >= 4 && insn->size <= 32));
    for (u32 i = 0; i < 4; i++) data[i] = i;
    return 0;
}

static void check_decoded(const u8 *bytes, size_t count, enum insn_mode mode, const struct insn *insn) {
    struct insn again;

    CHECK(insn->length >= 1 && insn->length <= INSN_MAX && insn->length <= count);
    CHECK(insn->op != INSN_UNKNOWN);
    CHECK(insn->size == 1 || insn->size == 2 || insn->size == 4 || insn->size == 8 ||
          (insn->op == INSN_VMOV && (insn->size == 16 || insn->size == 32)) ||
          (insn->op == INSN_MOVDIR64B && insn->size == 64));
    CHECK(insn->op != INSN_VMOV || insn->memory);
    CHECK(insn->address_size == 2 || insn->address_size == 4 || insn->address_size == 8);
    CHECK(insn->reg < 16 || insn->reg == INSN_NO_REG);
    CHECK(insn->rm < 16 || insn->rm == INSN_NO_REG);
    CHECK(insn->base <= INSN_REG_RIP || insn->base == INSN_NO_REG);
    CHECK(insn->index < 16 || insn->index == INSN_NO_REG);
    CHECK(insn->seg < SEG_COUNT);
    CHECK(!insn->memory || insn->rm == INSN_NO_REG);
    CHECK(insn_decode(bytes, insn->length, mode, &again) == 0);
    CHECK(again.length == insn->length && again.op == insn->op);
    CHECK(insn_decode(bytes, insn->length - 1u, mode, &again) == -E_TRUNCATED);
}

static void execute(const struct insn *insn, enum insn_mode mode, const u8 *script, size_t left) {
    struct world w = {.script = script, .left = left, .pieces = (insn->size + 7u) / 8};
    struct insn_bus bus = {.ctx = &w,
                           .read = bus_read,
                           .write = bus_write,
                           .probe_write = bus_probe,
                           .in = bus_in,
                           .out = bus_out,
                           .vector = bus_vector};
    struct insn_cpu cpu = {.mode = mode, .rip = 0xfffffff0, .rflags = RFLAGS_FIXED}, before;
    struct insn_fault fault;
    int error;

    for (u32 i = 0; i < 16 && i < left; i++) cpu.gpr[i] = script[i] * 0x9e3779b97f4a7c15ull;
    cpu.protected = left & 1;
    for (u32 i = 0; i < SEG_COUNT; i++)
        cpu.seg[i] = (struct segment){.base = (u64)i << 16,
                                      .attributes = (u16)(0x4090 | (left >> i & 15)),
                                      .usable = left & 0x60,
                                      .limit = left & 0x80 ? 0xffffffff : 0x7fffffff};
    before = cpu;
    error = insn_execute(insn, &cpu, &bus, &fault);
    CHECK(error == 0 || error == -E_FAULT || error == -E_UNSUPPORTED);
    if (error) {
        CHECK(!memcmp(&before, &cpu, sizeof(cpu)));
        CHECK(w.writes == 0);
        CHECK(error == -E_FAULT || w.calls == 0);
        return;
    }
    CHECK(cpu.rip == before.rip || cpu.rip - before.rip == insn->length ||
          (mode != INSN_64 && (u32)(cpu.rip - before.rip) == insn->length));
    CHECK(cpu.rip != before.rip || insn->rep || insn->repne);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    enum insn_mode mode;
    struct insn insn;
    size_t count;
    int error;

    if (size < 2) return 0;
    mode = (enum insn_mode)(data[0] % 3);
    count = data[1] % 20;
    data += 2;
    size -= 2;
    if (count > size) count = size;
    error = insn_decode(data, count, mode, &insn);
    CHECK(error == 0 || error == -E_INVAL || error == -E_UNSUPPORTED || error == -E_TRUNCATED);
    CHECK(error != -E_TRUNCATED || count < INSN_MAX);
    if (error) return 0;
    check_decoded(data, count, mode, &insn);
    execute(&insn, mode, data + count, size - count);
    return 0;
}
