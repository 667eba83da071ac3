/* The same from ring 3, where a guest's own operating system would keep its programs: what is privileged raises #GP or
 * #UD even if it exits, and what the hypervisor carries out by itself must not reach memory that ring 3 may not. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/attack/attack.h"

#define USER_CODE 0x33u /* selectors, with the ring */
#define USER_DATA 0x3bu
#define CR0_AM    BIT(18)
#define UNALIGNED 100u
#define WINDOW    BIT(39) /* the second PML4 entry: pages of ring 3 */
#define PTE_USER  7u
#define AT(page)  (WINDOW + (page)*PAGE_4K)

enum page { CODE, CODE_END, STACK, LAPIC, NOWHERE, DATA, SUPERVISOR };

extern u64 boot_pml4[];
static u64 pdpt[512], directory[512], table[512] __attribute__((aligned(4096)));
static u8 pages[4][PAGE_4K] __attribute__((aligned(4096)));
static u8 kernel_stack[4096] __attribute__((aligned(16)));
static u64 gdt[8];
static struct fault raised;

/* From ring 0 to ring 3 and, by an exception, back: rip, rsp, then rsi and rdi of ring 3. Returns in either case. */
void user_call(u64 rip, u64 rsp, u64 from, u64 to);
extern u64 user_rsp;
extern char user_landing[];
__asm__(".pushsection .text\n"
        "user_call:\n"
        "    pushq %rbx\n    pushq %rbp\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, user_rsp(%rip)\n"
        "    pushq $0x3b\n    pushq %rsi\n    pushq $2\n    pushq $0x33\n    pushq %rdi\n"
        "    movq %rdx, %rsi\n    movq %rcx, %rdi\n"
        "    movl $3, %ecx\n    xorl %edx, %edx\n    xorl %eax, %eax\n"
        "    iretq\n"
        "    .globl user_landing\n"
        "user_landing:\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbp\n    popq %rbx\n    ret\n"
        ".popsection\n"
        ".pushsection .bss\n    .align 8\n    .globl user_rsp\nuser_rsp: .quad 0\n.popsection\n");

static void on_user(struct trap_frame *f) {
    raised = (struct fault){true, (u32)f->vector, f->error, read_cr2(), f->rip};
    if ((f->cs & 3) != 3) check(false, "%s in ring 0 at 0x%lx", exception_name((u32)f->vector), f->rip);
    f->rip = (u64)user_landing;
    f->cs = 0x10;
    f->ss = 0x18;
    f->rsp = user_rsp;
    f->rflags = 2;
}

static void open_user(void) {
    struct __attribute__((packed)) {
        u16 limit;
        u64 base;
    } pointer = {sizeof(gdt) - 1, (u64)gdt};
    const u64 at[] = {[CODE] = (u64)pages[0], [CODE_END] = (u64)pages[1], [STACK] = (u64)pages[2],
                      [LAPIC] = LAPIC_PAGE,   [NOWHERE] = HOLE,           [DATA] = (u64)pages[3]};
    u64 stack = (u64)kernel_stack + sizeof(kernel_stack);

    for (u32 vector = 0; vector < 32; vector++)
        if (vector != VEC_NMI) interrupt_handler((u8)vector, on_user);
    memcpy(gdt, this_cpu()->gdt, sizeof(this_cpu()->gdt));
    gdt[USER_CODE / 8] = 0x00affb000000ffff;
    gdt[USER_DATA / 8] = 0x00cff3000000ffff;
    memcpy(this_cpu()->tss + 4, &stack, 8); /* RSP0 */
    __asm__ volatile("lgdt %0" ::"m"(pointer));
    for (u32 i = 0; i < ARRAY_SIZE(at); i++) table[i] = at[i] | PTE_USER;
    table[SUPERVISOR] = (u64)scratch | 3u;
    directory[0] = (u64)table | PTE_USER;
    pdpt[0] = (u64)directory | PTE_USER;
    *(volatile u64 *)&boot_pml4[1] = (u64)pdpt | PTE_USER;
    __asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3" ::: "rax", "memory");
}

static void close_user(void) {
    for (u32 vector = 0; vector < 32; vector++)
        if (vector != VEC_NMI) interrupt_handler((u8)vector, NULL);
    *(volatile u64 *)&boot_pml4[1] = 0;
    __asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3" ::: "rax", "memory");
}

struct code {
    const char *name;
    u8 count, bytes[12];
};

/* Runs one instruction and UD2 behind it; `back` bytes of it lie on the page before. True if the second was reached. */
static bool run(const struct code *c, u32 back, u64 from, u64 to) {
    u8 *at = pages[1] - back;
    u64 rip = AT(CODE_END) - back;

    memcpy(at, c->bytes, c->count);
    at[c->count] = 0x0f;
    at[c->count + 1] = 0x0b;
    raised = (struct fault){0};
    user_call(rip, AT(STACK) + PAGE_4K, from, to);
    return raised.vector == VEC_UD && raised.rip == rip + c->count;
}

static const struct code privileged[] = {
    {"hlt", 1, {0xf4}},
    {"in", 2, {0xe4, 0x80}},
    {"in dx", 1, {0xec}},
    {"out", 2, {0xe6, 0x80}},
    {"rep ins", 2, {0xf3, 0x6c}},
    {"rep outs", 2, {0xf3, 0x6e}},
    {"cli", 1, {0xfa}},
    {"sti", 1, {0xfb}},
    {"rdmsr", 2, {0x0f, 0x32}},
    {"wrmsr", 2, {0x0f, 0x30}},
    {"rdpmc", 2, {0x0f, 0x33}},
    {"mov from cr0", 3, {0x0f, 0x20, 0xc0}},
    {"mov to cr0", 3, {0x0f, 0x22, 0xc0}},
    {"mov to cr3", 3, {0x0f, 0x22, 0xd8}},
    {"mov to cr4", 3, {0x0f, 0x22, 0xe0}},
    {"mov to cr8", 4, {0x44, 0x0f, 0x22, 0xc0}},
    {"mov from dr7", 3, {0x0f, 0x21, 0xf8}},
    {"mov to dr7", 3, {0x0f, 0x23, 0xf8}},
    {"lgdt", 3, {0x0f, 0x01, 0x16}},
    {"lidt", 3, {0x0f, 0x01, 0x1e}},
    {"lldt", 3, {0x0f, 0x00, 0xd0}},
    {"ltr", 3, {0x0f, 0x00, 0xd8}},
    {"lmsw", 3, {0x0f, 0x01, 0xf0}},
    {"clts", 2, {0x0f, 0x06}},
    {"invd", 2, {0x0f, 0x08}},
    {"wbinvd", 2, {0x0f, 0x09}},
    {"invlpg", 3, {0x0f, 0x01, 0x3e}},
    {"swapgs", 3, {0x0f, 0x01, 0xf8}},
    {"xsetbv", 3, {0x0f, 0x01, 0xd1}},
    {"sysret", 3, {0x48, 0x0f, 0x07}},
    {"sysexit", 2, {0x0f, 0x35}},
    {"vmcall", 3, {0x0f, 0x01, 0xc1}},
    {"vmmcall", 3, {0x0f, 0x01, 0xd9}},
    {"vmlaunch", 3, {0x0f, 0x01, 0xc2}},
    {"vmread", 3, {0x0f, 0x78, 0xc8}},
    {"vmrun", 3, {0x0f, 0x01, 0xd8}},
    {"stgi", 3, {0x0f, 0x01, 0xdc}},
    {"clgi", 3, {0x0f, 0x01, 0xdd}},
    {"skinit", 3, {0x0f, 0x01, 0xde}},
    {"invlpga", 3, {0x0f, 0x01, 0xdf}},
    {"getsec", 2, {0x0f, 0x37}},
    {"rsm", 2, {0x0f, 0xaa}},
    {"enclu", 3, {0x0f, 0x01, 0xd7}},
    {"monitor", 3, {0x0f, 0x01, 0xc8}},
    {"mwait", 3, {0x0f, 0x01, 0xc9}},
};

/* Each refused, wherever a page ends in it. */
static void ring3(void) {
    open_user();
    for (u32 i = 0; i < ARRAY_SIZE(privileged); i++)
        for (u32 back = 0; back < privileged[i].count; back++) {
            bool done = run(&privileged[i], back, AT(DATA), AT(DATA));

            check(!done && (raised.vector == VEC_UD || raised.vector == VEC_GP), "%s: %s", privileged[i].name,
                  done ? "carried out" : exception_name(raised.vector));
        }
    close_user();
}

#define LAPIC_AT (AT(LAPIC) + LAPIC_VERSION)
#define SECRET   0x5ec7e75ec7e75ec7ull

/* Device memory that ring 3 may use, together with memory that it may not: read or written by instructions that the
 * hypervisor carries out. rsi, rdi: where from, where to. */
static const struct {
    struct code code;
    u64 from, to;
    bool faults;
} accesses[] = {
    {{"load", 2, {0x8b, 0x06}}, LAPIC_AT, 0, false},
    {{"load of nothing", 2, {0x8b, 0x06}}, AT(NOWHERE), 0, false},
    {{"store to nothing", 2, {0x89, 0x07}}, 0, AT(NOWHERE), false},
    {{"movs", 1, {0xa5}}, LAPIC_AT, AT(DATA), false},
    {{"movs out of the kernel", 1, {0xa5}}, AT(SUPERVISOR), AT(NOWHERE), true},
    {{"rep movs out of the kernel", 3, {0xf3, 0x48, 0xa5}}, AT(SUPERVISOR), AT(NOWHERE), true},
    {{"movs into the kernel", 1, {0xa5}}, LAPIC_AT, AT(SUPERVISOR), true},
    {{"rep movs into the kernel", 2, {0xf3, 0xa4}}, AT(NOWHERE), AT(SUPERVISOR), true},
    {{"movs into what is not mapped", 1, {0xa5}}, LAPIC_AT, AT(100), true},
    {{"cmps with the kernel", 1, {0xa7}}, LAPIC_AT, AT(SUPERVISOR), true},
    {{"pop into the apic from the kernel's stack", 5, {0x48, 0x89, 0xfc, 0x8f, 0x06}}, LAPIC_AT, AT(SUPERVISOR), true},
    {{"push of the apic on the kernel's stack", 5, {0x48, 0x89, 0xfc, 0xff, 0x36}},
     LAPIC_AT,
     AT(SUPERVISOR) + 64,
     true},
    {{"load beyond canonical addresses", 5, {0x90, 0x90, 0x90, 0x8b, 0x06}}, 0x7fffffffffffull, 0, true},
};

static void ring3_memory(void) {
    volatile u64 *secret = (volatile u64 *)scratch;

    open_user();
    for (u32 i = 0; i < ARRAY_SIZE(accesses); i++)
        for (u32 back = 0; back < accesses[i].code.count; back++) {
            bool done;

            for (u32 k = 0; k < 16; k++) secret[k] = SECRET;
            done = run(&accesses[i].code, back, accesses[i].from, accesses[i].to);
            check(done != accesses[i].faults, "%s: %s", accesses[i].code.name, exception_name(raised.vector));
            check(done || raised.vector == VEC_PF || raised.vector == VEC_GP || raised.vector == VEC_SS, "%s: %s",
                  accesses[i].code.name, exception_name(raised.vector));
            for (u32 k = 0; k < 16; k++) check(secret[k] == SECRET, "%s: written", accesses[i].code.name);
        }
    close_user();
}

/* Unaligned, with the flag AC that ring 3 sets by itself (push, or, pop): #AC. SDM Vol 3A, Interrupt 17. */
static void alignment(void) {
    static const struct code code = {"unaligned", 11, {0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x06}};
    u64 cr0 = read_cr0();

    open_user();
    write_cr0(cr0 | CR0_AM);
    for (u32 i = 0; i < UNALIGNED; i++) {
        bool done = run(&code, i % code.count, AT(DATA) + 1, 0);

        if (done && lenient()) { /* QEMU's processor reads it all the same */
            check(true, "-");
            continue;
        }
        check(!done && raised.vector == VEC_AC && raised.error == 0, "unaligned: %s error 0x%llx",
              done ? "carried out" : exception_name(raised.vector), (unsigned long long)raised.error);
    }
    check(run(&code, 0, AT(DATA), 0), "aligned: %s", exception_name(raised.vector));
    write_cr0(cr0);
    close_user();
}

const struct attempt user_attempts[] = {
    {"ring3-instructions", ring3},
    {"ring3-memory", ring3_memory},
    {"ring3-alignment", alignment},
    {0},
};
