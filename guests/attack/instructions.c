/* CPUID, and every instruction that is privileged, undefined or the hypervisor's own. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

#define CPUID1_ECX_HIDDEN (BIT(3) | BIT(5) | BIT(6)) /* MONITOR, VMX, SMX */

/* Leaves 0xb and 0x1f say at which thread they were asked; the time does not change them. */
static bool same(const struct cpuid_result *a, const struct cpuid_result *b) {
    return a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

static void cpuid_class(u32 first, u32 count, u32 subleaves) {
    for (u32 leaf = first; leaf < first + count; leaf++)
        for (u32 sub = 0; sub < subleaves; sub++) {
            struct cpuid_result a = cpuid(leaf, sub), b = cpuid(leaf, sub);
            check(same(&a, &b), "leaf 0x%x subleaf 0x%x changes", leaf, sub);
        }
}

static void cpuid_all(void) {
    struct cpuid_result top = cpuid(0xb, 1);

    cpuid_class(0, 0x40, 8);
    cpuid_class(0x20000000, 2, 1);
    cpuid_class(0x40000000, 0x100, 1);
    cpuid_class(0x80000000, 0x40, 4);
    cpuid_class(0x8ffffff0, 16, 1);
    cpuid_class(0xc0000000, 8, 1);
    cpuid_class(0xfffffff0, 16, 1);
    check(!(cpuid(1, 0).ecx & CPUID1_ECX_HIDDEN), "leaf 1 ecx 0x%x", cpuid(1, 0).ecx);
    check(cpuid(1, 0).ecx & BIT(31), "no hypervisor bit");
    check(!(cpuid(0x80000001, 0).ecx & BIT(2)), "svm is offered");
    check(!(cpuid(7, 0).ebx & BIT(2)), "sgx is offered");
    check(cpuid(0x8000000a, 0).edx == 0, "svm features are told");
    check(cpuid(0x12, 0).eax == 0, "sgx leaf");
    check((top.ebx & 0xffff) <= acpi.cpu_count, "%u processors are told", top.ebx & 0xffff);
    check(cpuid(1, 0).ebx >> 24 == lapic_id(), "another processor's id");
}

/* --- one instruction by its bytes ------------------------------------------------------------- */

struct bytes {
    const char *name;
    u8 count;
    u8 code[15];
};

/* Runs them as a function, with harmless addresses in the registers that they may use. */
static void run_bytes(void *argument) {
    const struct bytes *b = argument;
    u8 *at = scratch + 4096;
    u64 a = (u64)scratch, c = 0, d = 0, s = (u64)scratch, t = (u64)scratch;

    for (u32 i = 0; i < b->count; i++) at[i] = b->code[i];
    at[b->count] = 0xc3;
    __asm__ volatile("call *%5" : "+a"(a), "+c"(c), "+d"(d), "+S"(s), "+D"(t) : "r"(at) : "rbx", "cc", "memory");
}

static void each_must_fault(const struct bytes *list, u32 count, u64 faults) {
    for (u32 i = 0; i < count; i++) must_fault(run_bytes, (void *)&list[i], faults, list[i].name, i);
}

static const struct bytes virtualisation[] = {
    {"vmxon", 4, {0xf3, 0x0f, 0xc7, 0x30}},
    {"vmclear", 4, {0x66, 0x0f, 0xc7, 0x30}},
    {"vmptrld", 3, {0x0f, 0xc7, 0x30}},
    {"vmptrst", 3, {0x0f, 0xc7, 0x38}},
    {"vmlaunch", 3, {0x0f, 0x01, 0xc2}},
    {"vmresume", 3, {0x0f, 0x01, 0xc3}},
    {"vmxoff", 3, {0x0f, 0x01, 0xc4}},
    {"vmread", 3, {0x0f, 0x78, 0xc8}},
    {"vmwrite", 3, {0x0f, 0x79, 0xc8}},
    {"invept", 5, {0x66, 0x0f, 0x38, 0x80, 0x08}},
    {"invvpid", 5, {0x66, 0x0f, 0x38, 0x81, 0x08}},
    {"vmfunc", 3, {0x0f, 0x01, 0xd4}},
    {"vmcall", 3, {0x0f, 0x01, 0xc1}},
    {"vmmcall", 3, {0x0f, 0x01, 0xd9}},
    {"vmrun", 3, {0x0f, 0x01, 0xd8}},
    {"vmload", 3, {0x0f, 0x01, 0xda}},
    {"vmsave", 3, {0x0f, 0x01, 0xdb}},
    {"stgi", 3, {0x0f, 0x01, 0xdc}},
    {"clgi", 3, {0x0f, 0x01, 0xdd}},
    {"skinit", 3, {0x0f, 0x01, 0xde}},
    {"invlpga", 3, {0x0f, 0x01, 0xdf}},
    {"vmgexit", 4, {0xf3, 0x0f, 0x01, 0xd9}},
    {"getsec", 2, {0x0f, 0x37}},
    {"rsm", 2, {0x0f, 0xaa}},
    {"encls", 3, {0x0f, 0x01, 0xcf}},
    {"enclu", 3, {0x0f, 0x01, 0xd7}},
    {"enclv", 3, {0x0f, 0x01, 0xc0}},
    {"pconfig", 3, {0x0f, 0x01, 0xc5}},
    {"tdcall", 4, {0x66, 0x0f, 0x01, 0xcc}},
    {"seamcall", 4, {0x66, 0x0f, 0x01, 0xcf}},
    {"monitor", 3, {0x0f, 0x01, 0xc8}},
    {"mwait", 3, {0x0f, 0x01, 0xc9}},
    {"monitorx", 3, {0x0f, 0x01, 0xfa}},
    {"mwaitx", 3, {0x0f, 0x01, 0xfb}},
    {"hreset", 6, {0xf3, 0x0f, 0x3a, 0xf0, 0xc0, 0x00}},
    {"pvalidate", 4, {0xf2, 0x0f, 0x01, 0xff}},
    {"rmpadjust", 4, {0xf3, 0x0f, 0x01, 0xfe}},
};

static void virtual_machine(void) { each_must_fault(virtualisation, ARRAY_SIZE(virtualisation), FAULTS_ANY); }

static const struct bytes undefined[] = {
    {"ud2", 2, {0x0f, 0x0b}},
    {"ud1", 3, {0x0f, 0xb9, 0xc0}},
    {"ud0", 3, {0x0f, 0xff, 0xc0}},
    {"push es", 1, {0x06}},
    {"pop es", 1, {0x07}},
    {"push cs", 1, {0x0e}},
    {"push ss", 1, {0x16}},
    {"daa", 1, {0x27}},
    {"das", 1, {0x2f}},
    {"aaa", 1, {0x37}},
    {"aas", 1, {0x3f}},
    {"pusha", 1, {0x60}},
    {"popa", 1, {0x61}},
    {"far call", 7, {0x9a}},
    {"into", 1, {0xce}},
    {"aam", 2, {0xd4, 0x0a}},
    {"aad", 2, {0xd5, 0x0a}},
    {"salc", 1, {0xd6}},
    {"far jmp", 7, {0xea}},
    {"rdpmc", 2, {0x0f, 0x33}},
    {"mov cr1", 3, {0x0f, 0x20, 0xc8}},
    {"mov cr5", 3, {0x0f, 0x22, 0xe8}},
    {"mov cr9", 4, {0x44, 0x0f, 0x22, 0xc8}},
    {"mov cr15", 4, {0x44, 0x0f, 0x20, 0xf8}},
    {"xgetbv 0", 3, {0x0f, 0x01, 0xd0}},
    {"xsetbv 0", 3, {0x0f, 0x01, 0xd1}},
    {"xsaves", 3, {0x0f, 0xc7, 0x28}},
    {"15 prefixes", 15, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66}},
};

/* The hypervisor must not care for a prefix that the processor should have refused. */
static const struct bytes locked[] = {
    {"lock nop", 2, {0xf0, 0x90}},          {"lock cpuid", 3, {0xf0, 0x0f, 0xa2}},
    {"lock wbinvd", 3, {0xf0, 0x0f, 0x09}}, {"lock rdmsr", 3, {0xf0, 0x0f, 0x32}},
    {"lock in", 3, {0xf0, 0xe4, 0x80}},
};

static void undefined_all(void) {
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
    each_must_fault(undefined, ARRAY_SIZE(undefined), FAULTS_ANY);
    for (u32 i = 0; i < ARRAY_SIZE(locked); i++) {
        if (lenient())
            may_fault(run_bytes, (void *)&locked[i], FAULTS_ANY, locked[i].name, i);
        else
            must_fault(run_bytes, (void *)&locked[i], FAULTS_ANY, locked[i].name, i);
    }
}

/* Legal ones that exit: with prefixes that make them longer. */
static const struct bytes exiting[] = {
    {"cpuid", 4, {0x66, 0x66, 0x0f, 0xa2}},
    {"wbinvd", 3, {0x2e, 0x0f, 0x09}},
    {"invd", 3, {0x3e, 0x0f, 0x08}},
    {"rex cpuid", 3, {0x48, 0x0f, 0xa2}},
    {"pause", 2, {0xf3, 0x90}},
    {"long pause", 8, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0xf3, 0x90}},
    {"clts", 3, {0x66, 0x0f, 0x06}},
    {"smsw", 3, {0x0f, 0x01, 0xe0}},
    {"smsw to memory", 3, {0x0f, 0x01, 0x26}},
    {"in imm", 2, {0xe4, 0x80}},
    {"out imm", 2, {0xe6, 0x80}},
    {"long in", 6, {0x66, 0x66, 0x66, 0x66, 0xe5, 0x80}},
    {"mov from cr0", 4, {0x48, 0x0f, 0x20, 0xc0}},
    {"mov from cr8", 4, {0x44, 0x0f, 0x20, 0xc0}},
    {"lock mov cr8", 4, {0xf0, 0x0f, 0x20, 0xc0}},
    {"invlpg", 3, {0x0f, 0x01, 0x3e}},
    {"rdtscp", 3, {0x0f, 0x01, 0xf9}},
    {"rdpid", 4, {0xf3, 0x0f, 0xc7, 0xf8}},
    {"rdpkru", 3, {0x0f, 0x01, 0xee}},
    {"invpcid", 5, {0x66, 0x0f, 0x38, 0x82, 0x06}},
    {"clac", 3, {0x0f, 0x01, 0xca}},
    {"swapgs twice", 6, {0x0f, 0x01, 0xf8, 0x0f, 0x01, 0xf8}},
    {"verr", 3, {0x0f, 0x00, 0xe0}},
    {"lar", 3, {0x0f, 0x02, 0xc0}},
    {"icebp", 1, {0xf1}},
    {"wbnoinvd", 3, {0xf3, 0x0f, 0x09}},
    {"clflush", 3, {0x0f, 0xae, 0x3e}},
    {"rdrand", 3, {0x0f, 0xc7, 0xf0}},
};

static void exiting_all(void) {
    for (u32 i = 0; i < ARRAY_SIZE(exiting); i++)
        may_fault(run_bytes, (void *)&exiting[i], FAULTS_ANY | FAULT(VEC_DB), exiting[i].name, i);
}

/* --- hypercalls ------------------------------------------------------------------------------ */

static void do_vmcall(void *argument) {
    u64 a = (u64)argument;
    __asm__ volatile("vmcall" : "+a"(a) : "b"(~0ull), "c"(noise()), "d"(0), "S"(-1), "D"(0) : "memory");
}
static void do_vmmcall(void *argument) {
    u64 a = (u64)argument;
    __asm__ volatile("vmmcall" : "+a"(a) : "b"(~0ull), "c"(noise()), "d"(0), "S"(-1), "D"(0) : "memory");
}
static void hypercalls(void) {
    for (u64 number = 0; number < 256; number++) {
        must_fault(do_vmcall, (void *)number, FAULT(VEC_UD), "vmcall", number);
        must_fault(do_vmmcall, (void *)number, FAULT(VEC_UD), "vmmcall", number);
    }
    for (u32 i = 0; i < 256; i++) {
        u64 number = noise();
        must_fault(do_vmcall, (void *)number, FAULT(VEC_UD), "vmcall", number);
        must_fault(do_vmmcall, (void *)number, FAULT(VEC_UD), "vmmcall", number);
    }
}

const struct attempt instruction_attempts[] = {
    {"cpuid", cpuid_all},
    {"virtualisation-instructions", virtual_machine},
    {"undefined-instructions", undefined_all},
    {"exiting-instructions", exiting_all},
    {"hypercalls", hypercalls},
    {0},
};
