/* Moves to and from device memory that need more of the vCPU than its general registers: core/emulate.c. */
#include "test/fake/core_fixture.h"

static struct vm_exit stage2(u64 at, u32 access, bool walk) {
    return EXIT(STAGE2, .stage2 = {.at = {at}, .access = access, .walk = walk});
}

/* The instruction that was put there, once more. */
static void again(void) { f->reg[REG_RIP] = FAKE_KERNEL_AT; }
static void skips(u64 at, u32 access, u32 length) {
    again();
    play_skips(stage2(at, access, false), length);
}
static void faults(u64 at, u8 vector, int error) {
    again();
    play_faults(stage2(at, ACCESS_READ, false), vector, error);
}

/* Moves of vector registers where nobody answers; without AVX there is no VEX prefix. */
static void test_vectors(void **state) {
    u8 *xmm1 = fake_hw.vectors[1], ones[16];
    u64 xcr0 = machine.xcr0;

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    memset(xmm1, 0x55, 32);
    again();
    CODE("\x0f\x29\x08"); /* movaps %xmm1,(%rax) */
    v->hw.gpr[AX] = 0xd0000000;
    skips(0xd0000000, ACCESS_WRITE, 3);
    assert_true(xmm1[0] == 0x55 && xmm1[31] == 0x55);
    again();
    CODE("\xf3\x0f\x10\x08"); /* movss (%rax),%xmm1 */
    skips(0xd0000000, ACCESS_READ, 4);
    assert_true(xmm1[3] == 0xff && xmm1[4] == 0 && xmm1[15] == 0 && xmm1[16] == 0x55);
    again();
    CODE("\x0f\x28\x08"); /* movaps (%rax),%xmm1 */
    skips(0xd0000000, ACCESS_READ, 3);
    assert_memory_equal(ones, xmm1, 16);
    assert_int_equal(0x55, xmm1[16]);
    machine.xcr0 = fake_hw.xcr0 = 7;
    again();
    CODE("\xc5\xf8\x28\x08"); /* vmovaps (%rax),%xmm1 */
    skips(0xd0000000, ACCESS_READ, 4);
    assert_true(xmm1[15] == 0xff && xmm1[16] == 0 && xmm1[31] == 0);
    again();
    CODE("\xc5\xfc\x10\x08"); /* vmovups (%rax),%ymm1 */
    skips(0xd0000000, ACCESS_READ, 4);
    assert_true(xmm1[31] == 0xff);
    fake_hw.xcr0 = 3;
    faults(0xd0000000, VEC_UD, -1);
    fake_hw.xcr0 = 7;
    machine.xcr0 = 0;
    faults(0xd0000000, VEC_UD, -1);
    machine.xcr0 = xcr0;
    /* MMX is not decoded. */
    again();
    CODE("\x0f\x6f\x08");
    play_crashes(stage2(0xd0000000, ACCESS_READ, false), "not emulated");
}

/* MOV to segment registers: the selector is what a device says, here ones. SDM Vol 2B, MOV. */
static void test_segment_registers(void **state) {
    static const u64 gdt[] = {0, 0x00cf93000000ffff, 0x00cf13000000ffff};

    (void)state;
    again();
    CODE("\x8e\x18"); /* mov (%rax),%ds */
    v->hw.gpr[AX] = 0xd0000000;
    put(0x8000, gdt, sizeof(gdt));
    f->seg[VSEG_GDTR] = (struct segment){.limit = sizeof(gdt) - 1, .base = 0x8000, .usable = true};
    faults(0xd0000000, VEC_GP, 0xfffc);
    /* By the IOAPIC's index a selector of one's own. */
    v->hw.gpr[AX] = 0xfec00000;
    v->partition->board.ioapic.select = 8;
    skips(0xfec00000, ACCESS_READ, 2);
    assert_int_equal(8, f->seg[VSEG_DS].selector);
    assert_int_equal(0xc093, f->seg[VSEG_DS].attributes);
    v->partition->board.ioapic.select = 0x10; /* not present */
    faults(0xfec00000, VEC_NP, 0x10);
    v->partition->board.ioapic.select = 0;
    skips(0xfec00000, ACCESS_READ, 2);
    assert_false(f->seg[VSEG_DS].usable);
    again();
    CODE("\x8e\x10"); /* SS: interrupts are held off */
    v->partition->board.ioapic.select = 8;
    skips(0xfec00000, ACCESS_READ, 2);
    assert_int_equal(1, f->reg[REG_SHADOW]);
    v->partition->board.ioapic.select = 0; /* 64-bit code may be without */
    skips(0xfec00000, ACCESS_READ, 2);
    v->partition->board.ioapic.select = 9;
    faults(0xfec00000, VEC_GP, 8);
    /* Real mode: the base follows, limit and type stay. */
    f->reg[REG_CR0] = 0;
    f->reg[REG_EFER] = 0;
    f->seg[VSEG_CS] = (struct segment){0, 0x93, true, 0xffff, FAKE_KERNEL_AT};
    f->seg[VSEG_DS] = (struct segment){0, 0x93, true, 0xffffffff, 0};
    again();
    CODE("\x67\x8e\x18");
    v->partition->board.ioapic.select = 0x12;
    skips(0xfec00000, ACCESS_READ, 3);
    assert_int_equal(0x120, f->seg[VSEG_DS].base);
    assert_int_equal(0xffffffff, f->seg[VSEG_DS].limit);
}

/* Address bits that CPUID does not have are reserved in the guest's tables, for what only core has walked as well. SDM
 * Vol 3A, Paging: Enumeration of Paging Features by CPUID; Page-Fault Exceptions. */
static void test_reserved_bits(void **state) {
    static const u64 tables[] = {0x9000, 0xa000, 0xb000};
    u32 bits = v->cpuid.ext[8].regs.eax & 0xff, pf = PF_PRESENT | PF_RESERVED | PF_WRITE;
    struct vm_exit input = EXIT(IO, .length = 1, .io = {.port = 0x999, .size = 1, .in = true, .string = true});

    (void)state;
    assert_true(bits >= 36 && bits <= 48);
    for (u32 bad = 0; bad <= 3; bad++)
        for (u32 bit = bits; bit < 52; bit++) {
            u64 entries[] = {0xa003, 0xb003, 0x83};

            fresh(state);
            for (u32 i = 0; i < 3; i++) {
                u64 entry = entries[i] | (i == bad ? BIT(bit) : 0);

                put(tables[i] + 8, &entry, 8); /* linear 0x8040200000 */
                put(tables[i], &entries[i], 8);
            }
            f->reg[REG_CR3] = 0x9000;
            CODE("\x6c"); /* insb */
            v->hw.gpr[7] = 0x8040200000 + 0x30000;
            if (bad == 3) {
                play_skips(input, 1);
                continue;
            }
            play_faults(input, VEC_PF, (int)pf);
            assert_int_equal(v->hw.gpr[7], f->reg[REG_CR2]);
        }
}

/* SDM Vol 3B, Debug Control Register: watchpoints on what is carried out for the guest, device or memory, are met
 * behind the instruction. */
static void test_watchpoints(void **state) {
    (void)state;
    fake_hw.dr[0] = 0xfee00080;
    fake_hw.dr[1] = 0x30000;
    f->reg[REG_DR7] = 1u | BIT(2) | 0xdu << 16 | 0x3u << 20; /* writes of four bytes; any access to one */
    f->reg[REG_BREAKPOINTS] = 0;
    CODE("\x89\x07"); /* mov %eax, (%rdi) */
    v->hw.gpr[7] = 0xfee00080;
    play_skips(stage2(0xfee00080, ACCESS_WRITE, false), 2);
    assert_int_equal(1, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_BREAKPOINTS] = 0;
    CODE("\x8b\x07"); /* a read is not a write */
    play_skips(stage2(0xfee00080, ACCESS_READ, false), 2);
    assert_int_equal(0, f->reg[REG_BREAKPOINTS]);
    CODE("\x6c"); /* insb to memory */
    v->hw.gpr[7] = 0x30000;
    play_skips(EXIT(IO, .length = 1, .io = {.port = 0x999, .size = 1, .in = true, .string = true}), 1);
    assert_int_equal(2, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_BREAKPOINTS] = 0;
    v->hw.gpr[7] = 0x7f00000000; /* a fault meets nothing */
    fake_hw.dr[1] = 0x7f00000000;
    f->reg[REG_RIP] = FAKE_KERNEL_AT;
    play_faults(EXIT(IO, .length = 1, .io = {.port = 0x999, .size = 1, .in = true, .string = true}), VEC_PF, PF_WRITE);
    assert_int_equal(0, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_DR7] = 0x400;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_vectors, fresh),
        cmocka_unit_test_setup(test_segment_registers, fresh),
        cmocka_unit_test_setup(test_reserved_bits, fresh),
        cmocka_unit_test_setup(test_watchpoints, fresh),
    };

    return cmocka_run_group_tests_name("core moves", tests, boot_one, NULL);
}
