/* Task switches between arbitrary TSSs, by arbitrary descriptors. Input: kind of switch, an error code, an address that
 * faults, then bytes thrown over a working pair of tasks. Holds: accesses of 1, 2, 4 or 8 bytes below 4 GiB; nothing of
 * the old task is lost before the switch; behind it TR is the new, busy TSS, and each segment is unusable,
 * virtual-8086, or present with the S bit, code where code runs, and writable where the stack lies; a fault is #TS,
 * #NP, #SS, #GP or the bus's own. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/task.h"
#include "test/fuzz/fuzz.h"

#define BYTES   0x4000u
#define GDT     0x1000u
#define OLD     0x2000u
#define NEW     0x3000u
#define SEL_OLD 0x18u
#define SEL_NEW 0x20u

static u8 memory[BYTES];
static u32 broken;

static int reach(u64 la, u32 size, struct insn_fault *fault) {
    REQUIRE((size == 1 || size == 2 || size == 4 || size == 8) && la < GIB(4));
    if (la + size <= BYTES && la != broken) return 0;
    *fault = (struct insn_fault){.vector = VEC_PF, .has_error = true, .cr2 = la};
    return -E_FAULT;
}
static int get(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    int error = reach(la, size, fault);

    (void)ctx;
    *value = 0;
    if (!error) memcpy(value, memory + la, size);
    return error;
}
static int put(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    int error = reach(la, size, fault);

    (void)ctx;
    if (!error) memcpy(memory + la, &value, size);
    return error;
}
static bool use_cr3(void *ctx, u32 cr3) {
    (void)ctx;
    return !(cr3 & 1);
}

static void descriptor(u32 selector, u32 base, u64 limit, u64 attributes) {
    u64 d = (limit & 0xffff) | (u64)base << 16 | attributes << 40 | (limit >> 16) << 48;

    memcpy(memory + GDT + selector, &d, 8);
}

/* Flat code and data at 8 and 10h, the two TSSs, an LDT. */
static void two_tasks(void) {
    memset(memory, 0, sizeof(memory));
    descriptor(8, 0, 0xfffff, 0xc09a);
    descriptor(0x10, 0, 0xfffff, 0xc092);
    descriptor(SEL_OLD, OLD, 0x67, 0x8b);
    descriptor(SEL_NEW, NEW, 0x67, 0x89);
    descriptor(0x28, GDT, 0x2f, 0x82);
    memory[NEW + 57] = 0x20; /* ESP */
    for (u32 i = 0; i < 6; i++) memory[NEW + 72 + 4 * i] = i == 1 ? 8 : 0x10;
}

static void check_segment(const struct task_cpu *cpu, enum vcpu_seg seg) {
    const struct segment *s = &cpu->seg[seg];

    if (!s->usable) return;
    if (cpu->eflags & RFLAGS_VM) {
        REQUIRE(s->attributes == 0xf3 && s->base == (u64)s->selector << 4 && s->limit == 0xffff);
        return;
    }
    REQUIRE((s->attributes & 0x90) == 0x90 && (s->attributes & 1) && s->base < GIB(4));
    if (seg == VSEG_CS) REQUIRE(s->attributes & 8);
    if (seg == VSEG_SS) REQUIRE((s->attributes & 0xa) == 2);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    struct task_request rq = {
        (u16)(take(&in, 1) & 0x3c), (enum task_source)take(&in, 1) & 3, 0x1234, false, 0, false, use_cr3};
    const struct insn_bus bus = {.read = get, .write = put};
    struct task_cpu cpu = {.eflags = 2, .eip = 0x5555, .paging = true}, before;
    struct insn_fault fault = {0};
    bool switched = false;
    int error;

    two_tasks();
    rq.has_error = take(&in, 1) & 1;
    rq.error = (u32)take(&in, 2);
    broken = (u32)take(&in, 2);
    if (!rq.selector) rq.selector = SEL_NEW;
    while (in.left) memory[(GDT + take(&in, 2)) % BYTES] = (u8)take(&in, 1);
    cpu.seg[VSEG_TR] = (struct segment){SEL_OLD, 0x8b, true, 0x67, OLD};
    cpu.seg[VSEG_GDTR] = (struct segment){.usable = true, .limit = 0x37, .base = GDT};
    before = cpu;
    error = task_switch(&cpu, &rq, &bus, &switched, &fault);
    REQUIRE(error == 0 || error == -E_FAULT);
    REQUIRE(error || switched);
    if (error) {
        REQUIRE(fault.has_error);
        REQUIRE(fault.vector == VEC_PF || fault.vector == VEC_TS || fault.vector == VEC_NP || fault.vector == VEC_SS ||
                fault.vector == VEC_GP);
    }
    if (!switched) {
        REQUIRE(!memcmp(&before, &cpu, sizeof(cpu)));
        return 0;
    }
    REQUIRE(cpu.seg[VSEG_TR].selector == rq.selector && (cpu.seg[VSEG_TR].attributes & 2));
    REQUIRE(cpu.eflags & RFLAGS_FIXED);
    for (enum vcpu_seg i = VSEG_ES; i <= VSEG_GS; i++)
        if (!error) check_segment(&cpu, i);
    if (!error) REQUIRE(cpu.seg[VSEG_CS].usable && cpu.seg[VSEG_SS].usable && cpu.eip <= cpu.seg[VSEG_CS].limit);
    return 0;
}
