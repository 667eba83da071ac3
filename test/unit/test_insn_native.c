/* core/insn/execute.c and alu.c against the processor that runs this test: random 64-bit
 * instructions, registers and flags, each carried out by both. Registers, flags and memory must
 * come out the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "core/base/x86.h"
#include "core/insn/alu.h"
#include "core/insn/insn.h"

#define ROUNDS 300000u
#define BUFFER 8192u
#define FLAGS  (ALU_FLAGS | RFLAGS_DF)

struct native {
    u64 gpr[16]; /* rsp is not loaded */
    u64 rflags;
};

/* Loads registers and flags, calls the code, stores them again. */
void native_run(struct native *state, const void *code);
__asm__(".text\n"
        "native_run:\n"
        "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "  sub $8, %rsp\n"
        "  mov %rsi, native_code(%rip)\n"
        "  push %rdi\n"
        "  push 128(%rdi); popfq\n"
        "  mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
        "  mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
        "  mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
        "  mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
        "  mov 56(%rdi), %rdi\n"
        "  call *native_code(%rip)\n"
        "  xchg %rdi, (%rsp)\n"
        "  mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
        "  mov %rbp, 40(%rdi); mov %rsi, 48(%rdi)\n"
        "  mov %r8, 64(%rdi); mov %r9, 72(%rdi); mov %r10, 80(%rdi); mov %r11, 88(%rdi)\n"
        "  mov %r12, 96(%rdi); mov %r13, 104(%rdi); mov %r14, 112(%rdi); mov %r15, 120(%rdi)\n"
        "  pop 56(%rdi)\n"
        "  pushfq; pop 128(%rdi)\n"
        "  cld\n"
        "  add $8, %rsp\n"
        "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "  ret\n"
        ".bss\n"
        ".align 8\n"
        "native_code: .skip 8\n"
        ".text\n");

static u8 *code, *buffer; /* one mapping in the low 4 GiB: a page of code, then the data */
static u64 seed = 0x2545f4914f6cdd1dull;

static u64 rnd(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static bool inside(u64 la, u32 size) { return la >= (u64)buffer && la + size <= (u64)buffer + BUFFER; }

static int bus_read(void *ctx, u64 la, u32 size, u64 *value, struct insn_fault *fault) {
    (void)ctx;
    (void)fault;
    assert_true(inside(la, size));
    *value = 0;
    memcpy(value, (void *)la, size);
    return 0;
}

static int bus_write(void *ctx, u64 la, u32 size, u64 value, struct insn_fault *fault) {
    (void)ctx;
    (void)fault;
    assert_true(inside(la, size));
    memcpy((void *)la, &value, size);
    return 0;
}

static int bus_probe(void *ctx, u64 la, u32 size, struct insn_fault *fault) {
    (void)ctx;
    (void)fault;
    assert_true(inside(la, size));
    return 0;
}

static const struct insn_bus bus = {.read = bus_read, .write = bus_write, .probe_write = bus_probe};

/* Values near the edges turn up often. */
static u64 value(void) {
    static const u64 edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff};

    switch (rnd() % 4) {
    case 0: return rnd();
    case 1: return edges[rnd() % 8] + (rnd() % 3) - 1;
    case 2: return (u64)(s64)(s16)(rnd() % 8192 - 4096);
    default: return (u64)1 << (rnd() % 64);
    }
}

static void fill(struct native *s) {
    for (u32 i = 0; i < 16; i++) s->gpr[i] = value();
    /* Pointers to the middle of the buffer: rbx, rsi, rdi, r13. */
    s->gpr[3] = s->gpr[6] = s->gpr[13] = (u64)buffer + BUFFER / 2;
    s->gpr[7] = (u64)buffer + BUFFER / 2 + rnd() % 64;
    if (rnd() & 1) s->gpr[1] = rnd() % 9;
    s->rflags = RFLAGS_FIXED | RFLAGS_IF | (rnd() & FLAGS);
    for (u32 i = 0; i < 64; i++) buffer[BUFFER / 2 - 32 + i] = rnd() % 8 ? 0x55 : (u8)rnd();
    for (u32 i = 0; i < 8; i++) buffer[rnd() % BUFFER] = (u8)rnd();
}

/* Opcode bytes of the instructions that run in user mode and do not touch the stack. */
static u32 opcode(u8 *out) {
    static const u8 two[] = {0xa3, 0xab, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xc3};
    static const u8 one[] = {0x63, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x91,
                             0x95, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab,
                             0xac, 0xad, 0xae, 0xaf, 0xb0, 0xb7, 0xb8, 0xc6, 0xc7, 0xf6, 0xf7, 0xfe, 0xff};

    switch (rnd() % 3) {
    case 0:
        out[0] = 0x0f;
        out[1] = two[rnd() % sizeof(two)];
        return 2;
    case 1:
        out[0] = (u8)(rnd() % 8 * 8 + rnd() % 6); /* ADD to CMP */
        return 1;
    default: out[0] = one[rnd() % sizeof(one)]; return 1;
    }
}

static void generate(u8 *out) {
    u32 n = 0, behind;
    u64 at = (u64)buffer + BUFFER / 2 + rnd() % 64;
    s32 reach;

    if (rnd() % 4 == 0) out[n++] = 0x66;
    if (rnd() % 8 == 0) out[n++] = 0x67;
    if (rnd() % 4 == 0) out[n++] = rnd() & 1 ? 0xf2 : 0xf3;
    if (rnd() % 8 == 0) out[n++] = 0xf0;
    if (rnd() & 1) out[n++] = (u8)(0x40 | (rnd() & 15));
    n += opcode(out + n);
    if ((out[n - 1] & 0xfc) == 0xa0) {
        memcpy(out + n, &at, 8);
        return;
    }
    behind = n;
    while (n < 15) out[n++] = (u8)value();
    if (rnd() & 1) out[behind] = (u8)(out[behind] % 64 + 64); /* an 8-bit displacement */
    if ((out[behind] & 0xc7) == 5) {
        reach = (s32)(at - (u64)code);
        memcpy(out + behind + 1, &reach, 4);
    }
}

static bool usable(const struct insn *i, const struct insn_cpu *cpu, const struct native *s) {
    u64 la = insn_linear(i, cpu);
    u32 margin = i->memory && i->op >= INSN_BT && i->op <= INSN_BTC && !i->has_imm ? 1100 : 64;

    if (i->op == INSN_UNKNOWN || i->op > INSN_BTC) return false;
    /* The stack pointer belongs to the test. */
    if ((i->reg == 4 && !i->reg_high) || (i->rm == 4 && !i->rm_high) || i->base == 4) return false;
    if (!i->memory) return true;
    if (la < (u64)buffer + margin || la > (u64)buffer + BUFFER - margin) return false;
    if (margin > 64) {
        s64 offset = (s64)(s->gpr[i->reg] << (64 - 8 * i->size)) >> (64 - 8 * i->size);

        if (offset < -8192 || offset > 8191) return false;
    }
    /* A locked access across cache lines may be trapped. */
    if ((i->lock || i->op == INSN_XCHG) && la % i->size) return false;
    if (i->op >= INSN_MOVS && i->op <= INSN_SCAS && (i->rep || i->repne)) return s->gpr[1] < 9;
    return true;
}

static void show(const u8 *bytes, const struct insn *i, const struct native *ours, const struct native *theirs) {
    printf("op %d:", i->op);
    for (u32 n = 0; n < i->length; n++) printf(" %02x", bytes[n]);
    printf("\n");
    for (u32 n = 0; n < 16; n++)
        if (n != 4 && ours->gpr[n] != theirs->gpr[n])
            printf("  gpr %u: %016llx, native %016llx\n", n, (unsigned long long)ours->gpr[n],
                   (unsigned long long)theirs->gpr[n]);
    if ((ours->rflags ^ theirs->rflags) & FLAGS)
        printf("  flags: %llx, native %llx\n", (unsigned long long)(ours->rflags & FLAGS),
               (unsigned long long)(theirs->rflags & FLAGS));
}

/* Runs one instruction both ways. Returns false if it cannot be run here. */
static bool compare(u32 *wrong) {
    static u8 before[BUFFER], after[BUFFER];
    struct native start, ours, theirs;
    struct insn_cpu cpu = {.mode = INSN_64, .cpl = 3, .rip = (u64)code};
    struct insn_fault fault;
    struct insn insn;
    u8 bytes[16] = {0};
    bool same;

    fill(&start);
    generate(bytes);
    memcpy(cpu.gpr, start.gpr, sizeof(cpu.gpr));
    cpu.rflags = start.rflags;
    if (insn_decode(bytes, 15, INSN_64, &insn) || !usable(&insn, &cpu, &start)) return false;
    memcpy(before, buffer, BUFFER);
    for (u32 i = 0; i < 10 && cpu.rip == (u64)code; i++) assert_int_equal(0, insn_execute(&insn, &cpu, &bus, &fault));
    assert_int_equal((u64)code + insn.length, cpu.rip);
    memcpy(ours.gpr, cpu.gpr, sizeof(cpu.gpr));
    ours.rflags = cpu.rflags;
    memcpy(after, buffer, BUFFER);
    memcpy(buffer, before, BUFFER);

    memcpy(code, bytes, insn.length);
    code[insn.length] = 0xc3;
    theirs = start;
    native_run(&theirs, code);
    same = ((ours.rflags ^ theirs.rflags) & FLAGS) == 0 && !memcmp(after, buffer, BUFFER);
    for (u32 n = 0; n < 16; n++) same = same && (n == 4 || ours.gpr[n] == theirs.gpr[n]);
    if (!same) {
        ++*wrong;
        show(bytes, &insn, &ours, &theirs);
    }
    return true;
}

static void test_native(void **state) {
    u32 run = 0, wrong = 0;

    (void)state;
    code = mmap(NULL, PAGE_4K + BUFFER, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
                0);
    assert_true(code != MAP_FAILED);
    buffer = code + PAGE_4K;
    for (u32 i = 0; i < ROUNDS && wrong < 20; i++) run += compare(&wrong);
    print_message("%u instructions compared\n", run);
    assert_int_equal(0, wrong);
    assert_true(run > ROUNDS / 8);
    munmap(code, PAGE_4K + BUFFER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native),
    };

    return cmocka_run_group_tests_name("insn against this processor", tests, NULL, NULL);
}
