/* Paging as core has to know it: PDPTEs, task switches with tables of their own, five levels. */
#include "test/fake/core_fixture.h"

static struct vm_exit write_cr0(u8 gpr) {
    return EXIT(CR, .length = 3, .cr = {.gpr = gpr, .write = true, .known = true});
}

static struct vm_exit write_cr4(u8 gpr) {
    return EXIT(CR, .length = 3, .cr = {.number = 4, .gpr = gpr, .write = true, .known = true});
}

#define PDPT 0x9000 /* two of them, 32 bytes apart */
#define PD   0xa000

static void put64(u64 at, u64 value) { put(at, &value, 8); }

static void enable_pae(void) {
    f->reg[REG_EFER] = 0;
    f->reg[REG_CR0] = CR0_PE | CR0_PG;
    f->reg[REG_CR4] = CR4_PAE;
    f->reg[REG_CR3] = PDPT;
    f->seg[VSEG_CS] = (struct segment){8, 0xc09b, true, 0xffffffff, 0};
    for (u32 i = 0; i < 8; i++) put64(PDPT + 8 * i, i % 4 ? 0 : PD | i << 7 | 1); /* bits 11:9 are ignored */
    put64(PD, 0x83);
}

/* SDM Vol 3A, PDPTE Registers: PG, CD and NW load them, others do not; reserved bits count where an entry is present.
 */
static void test_pdptes(void **state) {
    (void)state;
    enable_pae();
    v->hw.gpr[1] = CR0_PE | CR0_PG | CR0_TS;
    play_skips(write_cr0(1), 3);
    assert_int_equal(0, f->reg[REG_PDPTE0]);
    v->hw.gpr[1] = CR0_PE | CR0_PG | CR0_CD;
    play_skips(write_cr0(1), 3);
    assert_int_equal(PD | 1, f->reg[REG_PDPTE0]);
    put64(PDPT + 8, 0x1e6);
    v->hw.gpr[1] = CR0_PE | CR0_PG;
    play_skips(write_cr0(1), 3);
    assert_int_equal(0x1e6, f->reg[REG_PDPTE0 + 1]);
    v->hw.gpr[1] = CR0_PE | CR0_PG | CR0_CD;
    for (u32 i = 0; i < 4; i++) {
        static const u64 bad[] = {2, 0x20, 0x100, BIT(51)};

        put64(PDPT + 8, bad[i] | 1);
        play_faults(write_cr0(1), VEC_GP, 0);
        assert_false(f->reg[REG_CR0] & CR0_CD);
    }
    f->reg[REG_CR3] = GIB(1); /* nobody's */
    play_faults(write_cr0(1), VEC_GP, 0);
}

/* Of CR4: PAE, PGE, PSE and SMEP. MCE alone, which exits on VT-x, does not. */
static void test_cr4_pdptes(void **state) {
    static const u64 bits[] = {CR4_PGE, CR4_PSE, CR4_SMEP, CR4_PAE};

    (void)state;
    enable_pae();
    v->hw.gpr[1] = CR4_PAE | CR4_MCE;
    play_skips(write_cr4(1), 3);
    assert_int_equal(0, f->reg[REG_PDPTE0]);
    for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
        f->reg[REG_CR4] = CR4_PAE ^ bits[i];
        v->hw.gpr[1] = CR4_PAE | CR4_MCE;
        f->reg[REG_PDPTE0] = 0;
        play_skips(write_cr4(1), 3);
        assert_int_equal(PD | 1, f->reg[REG_PDPTE0]);
        assert_int_equal(CR4_PAE | CR4_MCE, f->reg[REG_CR4]);
    }
    put64(PDPT + 8, 3); /* reserved */
    v->hw.gpr[1] = CR4_PAE | CR4_PGE;
    play_faults(write_cr4(1), VEC_GP, 0);
    assert_int_equal(CR4_PAE | CR4_MCE, f->reg[REG_CR4]);
    v->hw.gpr[1] = CR4_PSE; /* back to two levels */
    play_skips(write_cr4(1), 3);
}

/* With tables of its own, and the T flag, which DR6 tells. SDM Vol 3B, Task-Switch Exception Condition. */
static void test_task_switch(void **state) {
    static const u64 gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0081000067, 0x0000890082000067};
    u32 tss[26] = {[7] = PDPT + 32, [8] = 0x4321, [9] = 2, [18] = 0x10, [19] = 8, [20] = 0x10, [25] = 1};

    (void)state;
    for (u32 bad = 0; bad < 2; bad++) {
        enable_pae();
        put64(PDPT + 40, bad ? 3 : 0);
        put(0x8000, gdt, sizeof(gdt));
        put(0x8200, tss, sizeof(tss));
        f->seg[VSEG_GDTR] = (struct segment){.limit = sizeof(gdt) - 1, .base = 0x8000, .usable = true};
        f->seg[VSEG_TR] = (struct segment){0x18, 0x8b, true, 0x67, 0x8100};
        f->reg[REG_DR6] = 0xffff0ff0;
        play(EXIT(TASK_SWITCH, .length = 7, .task = {.selector = 0x20, .source = 2}));
        assert_int_equal(0x4321, f->reg[REG_RIP]);
        assert_int_equal(PDPT + 32, f->reg[REG_CR3]);
        assert_int_equal(0x20, f->seg[VSEG_TR].selector);
        assert_int_equal(bad ? VEC_GP : VEC_DB, f->taken.vector);
        assert_int_equal(bad ? 0xffff0ff0 : 0xffff8ff0, f->reg[REG_DR6]);
        if (!bad) assert_int_equal(PD | 0x200 | 1, f->reg[REG_PDPTE0]);
    }
}

/* The number of levels changes outside long mode only. SDM Vol 2B, MOV - Move to/from Control Registers. */
static void test_cr4_la57(void **state) {
    struct cpuid_regs *seven = &v->cpuid.sub[v->cpuid.basic[7].first];

    (void)state;
    v->hw.gpr[AX] = 0x80000008;
    play_skips(EXIT(CPUID, .length = 2), 2);
    assert_int_equal(57, v->hw.gpr[AX] >> 8 & 0xff);
    v->hw.gpr[1] = CR4_PAE | CR4_LA57;
    play_faults(write_cr4(1), VEC_GP, 0);
    assert_int_equal(CR4_PAE, f->reg[REG_CR4]);
    f->reg[REG_CR4] = CR4_PAE | CR4_LA57;
    v->hw.gpr[1] = CR4_PAE;
    play_faults(write_cr4(1), VEC_GP, 0);
    v->hw.gpr[1] = CR4_PAE | CR4_LA57 | CR4_PGE; /* others do change */
    play_skips(write_cr4(1), 3);
    assert_int_equal(CR4_PAE | CR4_LA57 | CR4_PGE, f->reg[REG_CR4]);
    v->hw.gpr[1] = CR4_LA57;
    play_faults(write_cr4(1), VEC_GP, 0); /* PAE stays */
    f->seg[VSEG_CS].attributes = 0xc09b;  /* compatibility mode is long mode */
    v->hw.gpr[1] = CR4_PAE;
    play_faults(write_cr4(1), VEC_GP, 0);
    f->reg[REG_CR0] = CR0_PE;
    f->reg[REG_EFER] = EFER_LME;
    play_skips(write_cr4(1), 3);
    v->hw.gpr[1] = CR4_PAE | CR4_LA57;
    play_skips(write_cr4(1), 3);
    assert_int_equal(CR4_PAE | CR4_LA57, f->reg[REG_CR4]);
    seven->ecx &= ~(u32)BIT(16); /* a processor without */
    play_faults(write_cr4(1), VEC_GP, 0);
    seven->ecx |= BIT(16);
}

#define PML5   0x9000ull
#define ALIAS  BIT(48) /* PML5E 1: the boot tables again */
#define IOAPIC 0xfec00000ull
#define SI     6

/* Lengths and operands through five levels. */
static void test_five_levels(void **state) {
    const struct vm_exit read = EXIT(STAGE2, .stage2 = {.at = {IOAPIC}, .access = ACCESS_READ});
    const struct vm_exit out = EXIT(IO, .io = {.port = 0x21, .size = 1, .string = true});
    u64 entry = f->reg[REG_CR3] | 3;

    (void)state;
    put(PML5 + 8, &entry, 8);
    f->reg[REG_CR3] = PML5;
    f->reg[REG_CR4] |= CR4_LA57;
    put(f->reg[REG_RIP], "\x66\xf2\x0f\xa2", 4);
    for (u32 accessed = 0; accessed < 2; accessed++) { /* the long way marks all entries, so the second time is short */
        f->reg[REG_RIP] = FAKE_KERNEL_AT + ALIAS;
        play_skips(EXIT(CPUID), 4);
        assert_int_equal(0, gmem_read(&fake_partition(0)->memory, gpa(PML5 + 8), &entry, 8));
        assert_true(entry & 0x20);
    }
    f->reg[REG_RIP] = FAKE_KERNEL_AT; /* PML5E 0 is not there */
    play_faults(EXIT(CPUID), VEC_PF, PF_FETCH);
    f->reg[REG_RIP] = BIT(56);
    play_faults(EXIT(CPUID), VEC_GP, 0);
    /* mov (%rbx), %eax from the I/O APIC; and a string to a port. */
    put(FAKE_KERNEL_AT, "\x8b\x03\x6e", 3);
    f->reg[REG_RIP] = FAKE_KERNEL_AT + ALIAS;
    v->hw.gpr[BX] = BIT(56);
    play_faults(read, VEC_GP, 0);
    v->hw.gpr[BX] = 0x00fffffffffffff0;
    play_faults(read, VEC_PF, 0);
    assert_int_equal(0x00fffffffffffff0, f->reg[REG_CR2]);
    v->hw.gpr[BX] = IOAPIC + ALIAS;
    v->hw.gpr[AX] = ~0ull;
    play_skips(read, 2);
    assert_int_equal(0, v->hw.gpr[AX]);
    v->hw.gpr[DX] = 0x21;
    v->hw.gpr[SI] = ~BIT(56);
    play_faults(out, VEC_GP, 0);
    v->hw.gpr[SI] = FAKE_KERNEL_AT + ALIAS;
    play_skips(out, 1);
    assert_int_equal(FAKE_KERNEL_AT + ALIAS + 1, v->hw.gpr[SI]);
}

/* Where the processor has PDPTE registers, memory does not count until they are loaded. SDM Vol 3A, PDPTE Registers. */
static void test_pdpte_registers(void **state) {
    struct vm_exit input = EXIT(IO, .length = 1, .io = {.port = 0x999, .size = 1, .in = true, .string = true});

    (void)state;
    for (u32 registers = 0; registers < 2; registers++) {
        fresh(state);
        enable_pae();
        f->reg[REG_RIP] = 0x30000;
        CODE("\x6c"); /* insb */
        f->seg[VSEG_ES] = (struct segment){.attributes = 0xc093, .usable = true, .limit = 0xffffffff};
        f->reg[REG_PDPTE0] = PD | 1;
        f->reg[REG_PDPTE0 + 1] = PD | 1;
        v->hw.gpr[7] = GIB(1) + 0x31000;
        fake_cpu.pdptes = registers;
        if (registers)
            play_skips(input, 1);
        else
            play_faults(input, VEC_PF, PF_WRITE);
        fake_cpu.pdptes = false;
    }
}

/* Through a task gate, to a task whose ES will not do: EXT says whether an instruction asked. #TS behind #GP is a
 * double fault. SDM Vol 3A, Error Code; Interrupt 8. */
static void test_task_gate(void **state) {
    static const u64 gdt[] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0081000067, 0x0000890082000067};
    static const struct {
        struct vm_event event;
        u8 vector;
        u32 error;
    } rows[] = {
        {{EVENT_SOFT_INTERRUPT, 0x20, false, 0, 2}, VEC_TS, 0x1230},
        {{EVENT_SOFT_EXCEPTION, VEC_BP, false, 0, 1}, VEC_TS, 0x1230},
        {{EVENT_SOFT_EXCEPTION, VEC_DB, false, 0, 1}, VEC_TS, 0x1231},
        {{EVENT_INTERRUPT, 0x20, false, 0, 0}, VEC_TS, 0x1231},
        {{EVENT_NMI, 2, false, 0, 0}, VEC_TS, 0x1231},
        {{EVENT_EXCEPTION, VEC_UD, false, 0, 0}, VEC_TS, 0x1231},
        {{EVENT_EXCEPTION, VEC_GP, true, 8, 0}, VEC_DF, 0},
    };
    u32 tss[26] = {[7] = PDPT, [8] = 0x4321, [9] = 2, [14] = 0x7000, [18] = 0x1230, [19] = 8, [20] = 0x10};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
        enable_pae();
        put(0x8000, gdt, sizeof(gdt));
        put(0x8200, tss, sizeof(tss));
        f->seg[VSEG_GDTR] = (struct segment){.limit = sizeof(gdt) - 1, .base = 0x8000, .usable = true};
        f->seg[VSEG_TR] = (struct segment){0x18, 0x8b, true, 0x67, 0x8100};
        fake_script.cut = rows[i].event;
        play(EXIT(TASK_SWITCH, .length = rows[i].event.length, .task = {.selector = 0x20, .source = 3}));
        assert_int_equal(0x4321, f->reg[REG_RIP]);
        assert_int_equal(rows[i].vector, f->taken.vector);
        assert_int_equal(rows[i].error, f->taken.error);
        assert_int_equal(EVENT_NONE, v->hw.interrupted.type);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pdptes, fresh),          cmocka_unit_test_setup(test_task_switch, fresh),
        cmocka_unit_test_setup(test_pdpte_registers, fresh), cmocka_unit_test_setup(test_task_gate, fresh),
        cmocka_unit_test_setup(test_cr4_la57, fresh),        cmocka_unit_test_setup(test_five_levels, fresh),
        cmocka_unit_test_setup(test_cr4_pdptes, fresh),
    };
    return cmocka_run_group_tests(tests, boot_one, NULL);
}
