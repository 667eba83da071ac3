/* Core's exit handlers under a scripted vendor, through the real run loop: what each exit does to the vCPU. */
#include "test/fake/core_fixture.h"

static const char config[] =
    "[machine]\nconsole = \"com1\"\n"
    "[partition.one]\ncpus = [0]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n"
    "load = 0x100000\nentry = 0x100000\nhpet = true\nports = [0x378]\nrestart = { on = \"always\" }\n";

static int setup(void **state) {
    (void)state;
    hardware_make();
    return fake_boot(config, 1, MIB(32)) == STOP_SCRIPT ? 0 : -1;
}

static void test_start(void **state) {
    (void)state;
    assert_int_equal(FAKE_KERNEL_AT, f->reg[REG_RIP]);
    assert_true(f->reg[REG_EFER] & EFER_LMA);
    assert_true(f->reg[REG_CR0] & CR0_PG);
    assert_int_equal(VCPU_RUNNING, v->state);
    assert_true(fake_cpu.opened_ports == 1 && fake_cpu.opened_msrs > 0);
    assert_int_equal(1, fake_hw.xcr0);
    assert_int_equal(1, f->inits); /* once for all runs */
}

/* --- instructions --- */

static void test_cpuid(void **state) {
    (void)state;
    memset(v->hw.gpr, 0xff, sizeof(v->hw.gpr));
    v->hw.gpr[AX] = 0xffffffff40000000;
    play_skips(EXIT(CPUID, .length = 2), 2);
    assert_int_equal(0x6c6c754d, v->hw.gpr[BX]); /* "Mull": and the upper halves are cleared */
    for (u32 set = 0; set < 2; set++) {
        f->reg[REG_CR4] = set ? f->reg[REG_CR4] | CR4_OSXSAVE : f->reg[REG_CR4] & ~CR4_OSXSAVE;
        v->hw.gpr[AX] = 1;
        play_skips(EXIT(CPUID, .length = 3), 3);
        assert_int_equal(set, v->hw.gpr[CX] >> 27 & 1);
        assert_false(v->hw.gpr[CX] & BIT(5)); /* no VMX */
    }
    v->hw.gpr[AX] = 0x7fffffff; /* none */
    play_skips(EXIT(CPUID, .length = 2), 2);
}

/* Where the processor does not tell, the length is found in memory. */
static void test_length(void **state) {
    (void)state;
    CODE("\x0f\xa2");
    play_skips(EXIT(CPUID), 2);
    CODE("\x66\xf2\x0f\xa2");
    play_skips(EXIT(CPUID), 4);
    CODE("\xf3\x90");
    play_skips(EXIT(PAUSE), 2);
    /* 32-bit code: the way round by the decoder. */
    f->reg[REG_EFER] = 0;
    f->reg[REG_CR0] = CR0_PE;
    f->seg[VSEG_CS] = (struct segment){8, 0xc09b, true, 0xffffffff, 0};
    CODE("\x2e\x0f\x08");
    play_skips(EXIT(WBINVD), 3);
    /* 16-bit real mode: rip counts in 16 bits on top of the base. */
    f->reg[REG_CR0] = 0;
    f->seg[VSEG_CS] = (struct segment){0x1000, 0x9b, true, 0xffff, 0x10000};
    f->reg[REG_RIP] = 0x20;
    put(0x10020, "\x0f\x09", 2);
    play_skips(EXIT(WBINVD), 2);
}

static void test_length_faults(void **state) {
    (void)state;
    CODE("\x0f\x0b"); /* changed since: UD2 is no CPUID, but decodes or is undefined */
    play(EXIT(CPUID));
    f->reg[REG_RIP] = 0x7f00000000; /* the boot tables end at 4 GiB */
    play_faults(EXIT(CPUID), VEC_PF, PF_FETCH);
    assert_int_equal(0x7f00000000, f->reg[REG_CR2]);
    f->reg[REG_RIP] = 0x80000000; /* mapped by the guest, but not its memory */
    play_crashes(EXIT(CPUID), "the guest's page tables or code lie outside its memory");
}

static void test_io(void **state) {
    (void)state;
    v->hw.gpr[AX] = 0x1122334455667788;
    play_skips(EXIT(IO, .length = 1, .io = {.port = 0x999, .size = 1, .in = true}), 1);
    assert_true(v->hw.gpr[AX] == 0x11223344556677ff);
    play_skips(EXIT(IO, .length = 1, .io = {.port = 0x999, .size = 2, .in = true}), 1);
    assert_true(v->hw.gpr[AX] == 0x112233445566ffff);
    play_skips(EXIT(IO, .length = 2, .io = {.port = 0x999, .size = 4, .in = true}), 2);
    assert_true(v->hw.gpr[AX] == 0xffffffff);
    for (const char *c = "hi\n"; *c; c++) {
        v->hw.gpr[AX] = (u8)*c;
        play_skips(EXIT(IO, .length = 1, .io = {.port = 0x3f8, .size = 1}), 1);
    }
    assert_true(said("[one] hi"));
}

/* SDM Vol 3B, Debug Address Registers: breakpoints on ports, of one, two, four and eight bytes. */
static void test_io_breakpoints(void **state) {
    struct vm_exit two = EXIT(IO, .length = 1, .io = {.port = 0x7f, .size = 2, .breakpoints = 0x89});

    (void)state;
    fake_hw.dr[0] = 0x80;
    fake_hw.dr[1] = 0x83; /* its low two bits do not count */
    fake_hw.dr[3] = 0x78;
    f->reg[REG_CR4] |= CR4_DE;
    f->reg[REG_DR7] = 1 | BIT(3) | BIT(7) | 2u << 16 | 0xeu << 20 | 0xau << 28;
    f->reg[REG_BREAKPOINTS] = 0;
    play_skips(EXIT(IO, .length = 1, .io = {.port = 0x84, .size = 4, .breakpoints = 0x89}), 1);
    assert_int_equal(0, f->reg[REG_BREAKPOINTS]);
    play_skips(two, 1);
    assert_int_equal(0xb, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_BREAKPOINTS] = 0;
    put(0x20000, "x", 1); /* by OUTSB too */
    v->hw.gpr[6] = 0x20000;
    v->hw.gpr[DX] = 0x80;
    CODE("\x6e");
    play(EXIT(IO, .length = 1, .io = {.port = 0x80, .size = 1, .string = true, .breakpoints = 0x89}));
    assert_int_equal(3, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_BREAKPOINTS] = 0;
    two.io.breakpoints = 0; /* none enabled */
    f->reg[REG_DR7] &= ~(u64)0xff;
    play_skips(two, 1);
    assert_int_equal(0, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_DR7] |= two.io.breakpoints = 0xff;
    f->reg[REG_CR4] &= ~(u64)CR4_DE;
    play_skips(two, 1);
    assert_int_equal(0, f->reg[REG_BREAKPOINTS]);
    f->reg[REG_DR7] = 0x400;
}

/* SDM Vol 2A, HLT: a single step ends it at once. */
static void test_step_over_hlt(void **state) {
    (void)state;
    f->reg[REG_RFLAGS] |= RFLAGS_TF;
    play_skips(EXIT(HLT, .length = 1), 1);
    assert_int_equal(VCPU_RUNNING, v->state);
    f->reg[REG_RFLAGS] &= ~(u64)RFLAGS_TF;
}

/* OUTSB and INSW by the emulator: rsi, rdi and rcx move, rip only at the end. */
static void test_string_io(void **state) {
    (void)state;
    put(0x20000, "string\n", 7);
    v->hw.gpr[6] = 0x20000;
    v->hw.gpr[CX] = 7;
    v->hw.gpr[DX] = 0x3f8;
    CODE("\xf3\x6e");
    for (u32 i = 0; i < 100 && f->reg[REG_RIP] == FAKE_KERNEL_AT; i++)
        play(EXIT(IO, .length = 2, .io = {.port = 0x3f8, .size = 1, .string = true, .rep = true}));
    assert_int_equal(FAKE_KERNEL_AT + 2, f->reg[REG_RIP]);
    assert_int_equal(0x20007, v->hw.gpr[6]);
    assert_int_equal(0, v->hw.gpr[CX]);
    assert_true(said("[one] string"));
    v->hw.gpr[7] = 0x20fff; /* the word crosses a page */
    v->hw.gpr[DX] = 0x999;
    CODE("\x66\x6d");
    play_skips(EXIT(IO, .io = {.port = 0x999, .size = 2, .in = true, .string = true}), 2);
    assert_int_equal(0x21001, v->hw.gpr[7]);
    assert_int_equal(0xff, *(u8 *)gmem_ptr(&fake_partition(0)->memory, gpa(0x21000), 1, false));
}

static void test_undefined(void **state) {
    (void)state;
    play_faults(EXIT(HYPERCALL, .length = 3), VEC_UD, -1);
    play_faults(EXIT(MWAIT, .length = 3), VEC_UD, -1);
    play_faults(EXIT(NO_INSN, .length = 3), VEC_UD, -1);
    play_faults(EXIT(RDPMC, .length = 2), VEC_GP, 0);
}

static void test_skipped(void **state) {
    (void)state;
    f->reg[REG_SHADOW] = 1;
    play_skips(EXIT(WBINVD, .length = 2), 2);
    assert_int_equal(0, f->reg[REG_SHADOW]);
    play_skips(EXIT(PAUSE, .length = 2), 2);
}

/* --- MSRs --- */

static void write_msr(u32 msr, u64 value) {
    v->hw.gpr[CX] = msr | 0xabcd00000000; /* the upper half does not count */
    v->hw.gpr[AX] = (u32)value | 0xabcd00000000;
    v->hw.gpr[DX] = value >> 32 | 0xabcd00000000;
    play_skips(EXIT(WRMSR, .length = 2), 2);
}
static u64 read_msr(u32 msr) {
    v->hw.gpr[CX] = msr;
    v->hw.gpr[AX] = v->hw.gpr[DX] = ~0ull;
    play_skips(EXIT(RDMSR, .length = 2), 2);
    assert_true(v->hw.gpr[AX] >> 32 == 0 && v->hw.gpr[DX] >> 32 == 0);
    return v->hw.gpr[AX] | v->hw.gpr[DX] << 32;
}
static void refuse_msr(u32 msr, u64 value) {
    v->hw.gpr[CX] = msr;
    v->hw.gpr[AX] = (u32)value;
    v->hw.gpr[DX] = value >> 32;
    play_faults(EXIT(WRMSR, .length = 2), VEC_GP, 0);
}

static void test_msrs(void **state) {
    (void)state;
    write_msr(MSR_PAT, 0x0007040600070401);
    assert_true(read_msr(MSR_PAT) == 0x0007040600070401 && f->reg[REG_PAT] == 0x0007040600070401);
    refuse_msr(MSR_PAT, 0x0200000000000000);
    refuse_msr(MSR_PAT, 0x0800000000000000);
    assert_true(read_msr(MSR_EFER) & EFER_LMA);
    write_msr(MSR_EFER, EFER_LME | EFER_SCE);
    assert_int_equal(EFER_LME | EFER_LMA | EFER_SCE, f->reg[REG_EFER]); /* LMA stays what it was */
    refuse_msr(MSR_EFER, 0);                                            /* LME with paging on */
    refuse_msr(MSR_EFER, EFER_LME | EFER_SVME);
    assert_int_equal(1, read_msr(MSR_FEATURE_CONTROL));
    write_msr(MSR_BIOS_SIGN_ID, 77);
    assert_int_equal(0, read_msr(MSR_BIOS_SIGN_ID));
    refuse_msr(MSR_FEATURE_CONTROL, 5);
    refuse_msr(MSR_HWCR, 0); /* the machine is Intel's */
    refuse_msr(MSR_VM_CR, 0);
    v->hw.gpr[CX] = MSR_VM_HSAVE_PA;
    play_faults(EXIT(RDMSR, .length = 2), VEC_GP, 0);
}

static void test_tsc(void **state) {
    u64 before;

    (void)state;
    before = read_msr(MSR_TSC);
    assert_true(before < MIB(1)); /* guest time starts with the guest */
    write_msr(MSR_TSC, 1ull << 40);
    assert_true(read_msr(MSR_TSC) - (1ull << 40) < 10000);
    assert_true(f->reg[REG_TSC_OFFSET] == v->tsc_offset);
    assert_true(vcpu_guest_ns(v) < 1000000); /* the board's time did not jump */
    v->partition->tsc_start = fake_hw.tsc + 1000000;
    assert_int_equal(0, vcpu_guest_ns(v)); /* a core whose TSC lies behind */
}

/* KVM's clock is not there unless CPUID says so. It follows the guest's TSC, and is forgotten at a restart. */
static void test_clock(void **state) {
    const u32 *t = gmem_ptr(&fake_partition(0)->memory, gpa(0x3000), 32, false);
    struct cpuid_regs *offered = &v->cpuid.kvm[0].regs;

    (void)state;
    v->hw.gpr[CX] = MSR_PVCLOCK_TIME;
    play_faults(EXIT(RDMSR, .length = 2), VEC_GP, 0);
    refuse_msr(MSR_PVCLOCK_TIME, 0x3001);
    assert_int_equal(0, *t);
    offered->eax = 1;
    write_msr(MSR_PVCLOCK_TIME, 0x3001);
    assert_int_equal(0x3001, read_msr(MSR_PVCLOCK_TIME));
    assert_true(t[0] == 2 && t[2] == 0 && t[3] == 0);
    write_msr(MSR_TSC_ADJUST, 0x123456789);
    assert_true(t[0] == 4 && t[2] == 0x23456789 && t[3] == 1); /* the same time as before */
    write_msr(MSR_PVCLOCK_WALL, 0x4000);
    assert_int_equal(0x4000, read_msr(MSR_PVCLOCK_WALL));
    refuse_msr(MSR_PVCLOCK_WALL, ~0ull);
    refuse_msr(MSR_PVCLOCK_TIME, MIB(64) | 1);
    write_msr(MSR_PVCLOCK_TIME, 0);
    write_msr(MSR_TSC_ADJUST, 0);
    assert_int_equal(4, t[0]);
    write_msr(MSR_PVCLOCK_TIME, 0x3001);
    fresh(state);
    assert_true(v->clock.time == 0 && v->clock.wall == 0);
    offered->eax = 0;
}

/* --- control registers --- */

static struct vm_exit cr(u8 number, u8 gpr, bool write) {
    return EXIT(CR, .length = 3, .cr = {.number = number, .gpr = gpr, .write = write, .known = true});
}

static void test_cr8(void **state) {
    (void)state;
    v->hw.gpr[5] = 9;
    play_skips(cr(8, 5, true), 3);
    assert_int_equal(9, vlapic_cr8(&v->lapic));
    play_skips(cr(8, 15, false), 3);
    assert_int_equal(9, v->hw.gpr[15]);
    f->reg[REG_RSP] = 3;
    play_skips(cr(8, 4, true), 3); /* rsp */
    assert_int_equal(3, vlapic_cr8(&v->lapic));
    play_skips(cr(8, 4, false), 3);
    v->hw.gpr[5] = 16;
    play_faults(cr(8, 5, true), VEC_GP, 0);
    v->hw.gpr[5] = 0;
    play_faults(cr(3, 5, true), VEC_GP, 0); /* never asked for */
}

static void test_cr0_cr4(void **state) {
    (void)state;
    v->hw.gpr[1] = CR0_PE | CR0_PG | CR0_TS;
    play_skips(cr(0, 1, true), 3);
    assert_true(f->reg[REG_CR0] == (CR0_PE | CR0_PG | CR0_TS | CR0_ET));
    play_skips(cr(0, 2, false), 3);
    assert_true(v->hw.gpr[2] == f->reg[REG_CR0]);
    play_skips(EXIT(CR, .length = 2, .cr = {.clts = true, .write = true, .known = true}), 2);
    assert_false(f->reg[REG_CR0] & CR0_TS);
    play_skips(EXIT(CR, .length = 3, .cr = {.lmsw = true, .write = true, .known = true, .lmsw_value = 0xfffe}), 3);
    assert_int_equal(CR0_PE | CR0_MP | CR0_EM | CR0_TS, f->reg[REG_CR0] & 0xf);
    for (u32 i = 0; i < 3; i++) {
        static const u64 bad[] = {CR0_PG, CR0_PE | CR0_NW, CR0_PE | BIT(32)};

        v->hw.gpr[1] = bad[i];
        play_faults(cr(0, 1, true), VEC_GP, 0);
    }
    v->hw.gpr[1] = CR4_PAE | CR4_SMEP | CR4_UMIP | CR4_OSXSAVE | CR4_FSGSBASE;
    play_skips(cr(4, 1, true), 3);
    play_skips(cr(4, 3, false), 3);
    assert_true(v->hw.gpr[3] == v->hw.gpr[1]);
    for (u32 i = 0; i < 4; i++) {
        static const u64 bad[] = {CR4_VMXE, CR4_SMXE, BIT(22) /* PKE */, BIT(40)};

        v->hw.gpr[1] = CR4_PAE | bad[i];
        play_faults(cr(4, 1, true), VEC_GP, 0);
    }
    /* Outside 64-bit mode the operand has 32 bits. */
    f->seg[VSEG_CS].attributes = 0xc09b;
    v->hw.gpr[1] = 0xffffffff00000000 | CR4_PAE;
    play_skips(cr(4, 1, true), 3);
    assert_int_equal(CR4_PAE, f->reg[REG_CR4]);
}

/* A processor that does not name the operand: the instruction does. */
static void test_cr_decoded(void **state) {
    (void)state;
    v->hw.gpr[10] = 7;
    CODE("\x45\x0f\x22\xc2"); /* mov cr8, r10 */
    play_skips(EXIT(CR), 4);
    assert_int_equal(7, vlapic_cr8(&v->lapic));
    CODE("\x44\x0f\x20\xc0"); /* mov rax, cr8 */
    play_skips(EXIT(CR), 4);
    assert_int_equal(7, v->hw.gpr[AX]);
    f->reg[REG_CR0] |= CR0_TS;
    CODE("\x0f\x06"); /* clts */
    play_skips(EXIT(CR), 2);
    assert_false(f->reg[REG_CR0] & CR0_TS);
    f->reg[REG_RIP] = 0x7f00000000;
    play_faults(EXIT(CR), VEC_PF, PF_FETCH);
}

/* Another vCPU has put a different instruction there since the exit. */
static void test_cr_changed(void **state) {
    static const char *const codes[] = {"\x0f\xa2\x90\x90", "\xc7\x03\x01\x02\x03\x04", "\x0f\x01\xf0\x90",
                                        "\xe4\x40\x90\x90"};
    struct vcpu copy;

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(codes); i++) {
        put(f->reg[REG_RIP], codes[i], 4);
        copy = *v;
        play_skips(EXIT(CR), 0);
        assert_memory_equal(copy.hw.gpr, v->hw.gpr, sizeof(copy.hw.gpr));
    }
}

static void test_xsetbv(void **state) {
    static const struct {
        u64 value;
        u32 number, cpl;
        bool ok;
    } cases[] = {{1, 0, 0, true},  {0, 0, 0, false}, {2, 0, 0, false},      {1, 1, 0, false},
                 {1, 0, 3, false}, {5, 0, 0, false}, {BIT(9), 0, 0, false}, {0xe1, 0, 0, false}};

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        v->hw.gpr[AX] = (u32)cases[i].value;
        v->hw.gpr[DX] = cases[i].value >> 32;
        v->hw.gpr[CX] = cases[i].number;
        f->reg[REG_CPL] = cases[i].cpl;
        if (cases[i].ok)
            play_skips(EXIT(XSETBV, .length = 3), 3);
        else
            play_faults(EXIT(XSETBV, .length = 3), VEC_GP, 0);
    }
}

/* --- memory --- */

static struct vm_exit stage2(u64 at, u32 access, bool walk) {
    return EXIT(STAGE2, .stage2 = {.at = {at}, .access = access, .walk = walk});
}

static void test_devices(void **state) {
    (void)state;
    CODE("\xa1\x30\x00\xe0\xfe\x00\x00\x00\x00"); /* mov eax, [0xfee00030]: version */
    play_skips(stage2(0xfee00030, ACCESS_READ, false), 9);
    assert_int_equal(0x14, v->hw.gpr[AX] & 0xff);
    v->hw.gpr[BX] = 0xfec00000;
    CODE("\xc7\x03\x01\x00\x00\x00"); /* mov dword [rbx], 1: IOAPIC, select the version */
    play_skips(stage2(0xfec00000, ACCESS_WRITE, false), 6);
    CODE("\x8b\x43\x10"); /* mov eax, [rbx + 16] */
    play_skips(stage2(0xfec00010, ACCESS_READ, false), 3);
    assert_int_equal(0x20, v->hw.gpr[AX] & 0xff);
    v->hw.gpr[BX] = 0xfed000f0; /* HPET: a counter of 64 bits is one access */
    v->hw.gpr[AX] = 0xffffffff;
    CODE("\x48\x89\x03"); /* mov [rbx], rax */
    play_skips(stage2(0xfed000f0, ACCESS_WRITE, false), 3);
    v->hw.gpr[AX] = 1;
    CODE("\x48\x89\x83\x20\xff\xff\xff"); /* mov [rbx - 0xe0], rax: on */
    play_skips(stage2(0xfed00010, ACCESS_WRITE, false), 7);
    fake_hw.tsc += 1000000000;
    CODE("\x48\x8b\x03"); /* mov rax, [rbx] */
    play_skips(stage2(0xfed000f0, ACCESS_READ, false), 3);
    assert_in_range(v->hw.gpr[AX], BIT(32), BIT(32) + 200000000);
    v->hw.gpr[BX] = 0xd0000000;
    CODE("\x48\x8b\x03"); /* mov rax, [rbx]: nobody */
    play_skips(stage2(0xd0000000, ACCESS_READ, false), 3);
    assert_true(v->hw.gpr[AX] == ~0ull);
    CODE("\x48\x89\x03");
    play_skips(stage2(0xd0000000, ACCESS_WRITE, false), 3);
    CODE("\x48\x89\x43\xfc"); /* 8 bytes across a page */
    play_skips(stage2(0xcfffffff, ACCESS_WRITE, false), 4);
    CODE("\x48\x8b\x43\xfc");
    play_skips(stage2(0xcfffffff, ACCESS_READ, false), 4);
    /* Memory by now: another vCPU may have changed the instruction. */
    v->hw.gpr[BX] = 0x21000;
    CODE("\x48\x89\x03");
    play_skips(stage2(0xd0000000, ACCESS_WRITE, false), 3);
    v->hw.gpr[AX] = 0;
    CODE("\x48\x8b\x03");
    play_skips(stage2(0xd0000000, ACCESS_READ, false), 3);
    assert_true(v->hw.gpr[AX] == ~0ull);
    /* A port from device memory is none. */
    CODE("\xee");
    play_crashes(stage2(0xd0000000, ACCESS_WRITE, false), "not emulated");
}

static void test_device_faults(void **state) {
    (void)state;
    v->hw.gpr[BX] = 0x7f00000000;
    CODE("\x8b\x03");
    play_faults(stage2(0xd0000000, ACCESS_READ, false), VEC_PF, 0);
    assert_int_equal(0x7f00000000, f->reg[REG_CR2]);
    v->hw.gpr[BX] = 0xfffffffe; /* crosses into what the tables do not map */
    CODE("\x89\x03");
    play_faults(stage2(0xfffffffe, ACCESS_WRITE, false), VEC_PF, PF_WRITE);
    CODE("\x0f\xff");
    play(stage2(0xd0000000, ACCESS_READ, false)); /* UD0: whatever it is, no panic */
    CODE("\x0f\x58\x03");                         /* addps */
    play_crashes(stage2(0xd0000000, ACCESS_READ, false), "an instruction on device memory that is not emulated");
}

static void test_not_owned(void **state) {
    const char *nowhere = "which the partition does not own";

    (void)state;
    play_crashes(stage2(GIB(4), ACCESS_READ, false), nowhere);
    assert_true(said("read at guest-physical 0x100000000"));
    play_crashes(stage2(GIB(5), ACCESS_WRITE, false), nowhere);
    play_crashes(stage2(0xd0000000, ACCESS_FETCH, false), nowhere);
    play_crashes(stage2(0xd0000000, ACCESS_READ, true), nowhere);
    fake_script.cut = (struct vm_event){.type = EVENT_INTERRUPT, .vector = 0x40};
    play_crashes(stage2(0xd0000000, ACCESS_READ, false), nowhere);
    assert_true(said("exit stage2"));
}

/* --- what ends it --- */

static void test_crashes(void **state) {
    (void)state;
    play_crashes(EXIT(TRIPLE_FAULT), "triple fault");
    play_crashes(EXIT(INVALID), "the processor refuses this guest state");
    play_crashes(EXIT(UNEXPECTED, .code = 0x77), "an exit that was not asked for (exit unexpected, code 0x77)");
    play_crashes(EXIT(DR), "an exit that was not asked for");
    assert_true(said("instruction bytes f4 f4 f4"));
    f->reg[REG_RIP] = 0x7f00000000;
    play_crashes(EXIT(TRIPLE_FAULT), "instruction bytes unreadable");
    assert_string_equal("unknown", exit_reason_name(EXIT_REASONS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_start, fresh),
        cmocka_unit_test_setup(test_cpuid, fresh),
        cmocka_unit_test_setup(test_length, fresh),
        cmocka_unit_test_setup(test_length_faults, fresh),
        cmocka_unit_test_setup(test_io_breakpoints, fresh),
        cmocka_unit_test_setup(test_step_over_hlt, fresh),
        cmocka_unit_test_setup(test_io, fresh),
        cmocka_unit_test_setup(test_string_io, fresh),
        cmocka_unit_test_setup(test_undefined, fresh),
        cmocka_unit_test_setup(test_skipped, fresh),
        cmocka_unit_test_setup(test_msrs, fresh),
        cmocka_unit_test_setup(test_tsc, fresh),
        cmocka_unit_test_setup(test_clock, fresh),
        cmocka_unit_test_setup(test_cr8, fresh),
        cmocka_unit_test_setup(test_cr0_cr4, fresh),
        cmocka_unit_test_setup(test_cr_decoded, fresh),
        cmocka_unit_test_setup(test_xsetbv, fresh),
        cmocka_unit_test_setup(test_cr_changed, fresh),
        cmocka_unit_test_setup(test_devices, fresh),
        cmocka_unit_test_setup(test_device_faults, fresh),
        cmocka_unit_test_setup(test_not_owned, fresh),
        cmocka_unit_test_setup(test_crashes, fresh),
    };

    return cmocka_run_group_tests_name("core exits", tests, setup, NULL);
}
