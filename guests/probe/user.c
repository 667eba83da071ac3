/* The user's level: what a program there may not do faults before anybody is asked, what it may do works, and the
 * rights of its pages count for instructions on a device as well. SDM Vol 3A, Privileged Instructions; Vol 2, each
 * instruction. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/probe/probe.h"

#define IOPL_3     0x3000u
#define ENTRY_USER BIT(2)
#define DEVICE     0x60000000u /* linear; leads to the local APIC */

extern u64 boot_pml4[], boot_directories[];
/* level.S. Enters code at `rip`; rbx, rsi and rdi are `address`, rdx is 21h. Returns when somebody sends it to
 * user_left, in the kernel's code segment and with the stack of user_rsp. */
void user_enter(u64 rip, u64 rsp, u64 rflags, u64 address);
extern char user_left[];
extern u64 user_rsp;

/* The descriptors of the library, and two more. */
static u64 gdt[8];
static struct { u8 code[64], stack[512]; } user __attribute__((aligned(16)));
static u8 kernel_stack[4096] __attribute__((aligned(16)));
static struct trap_frame seen;

static void leave(struct trap_frame *frame) {
    seen = *frame;
    frame->cs = 0x10;
    frame->ss = 0x18;
    frame->rip = (u64)user_left;
    frame->rsp = user_rsp;
    frame->rflags = BIT(1);
}

static void flush(void) { __asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3" ::: "rax", "memory"); }

static void allow(u64 *entry, bool on) { *entry = on ? *entry | ENTRY_USER : *entry & ~ENTRY_USER; }

/* The pages of this program are the user's, or not; the tables above let everybody through. */
static void user_pages(bool on) {
    u64 *pdpt = (u64 *)(boot_pml4[0] & ~0xfffull);

    allow(&boot_pml4[0], on);
    for (u32 i = 0; i < 4; i++) allow(&pdpt[i], on);
    for (u64 i = (u64)&user >> 21; i <= (u64)(&user + 1) >> 21; i++) allow(&boot_directories[i], on);
    flush();
}

static void load_gdt(const void *base, u16 limit) {
    struct __attribute__((packed)) {
        u16 limit;
        u64 base;
    } pointer = {limit, (u64)base};

    __asm__ volatile("lgdt %0" ::"m"(pointer));
}

static const u8 catches[] = {VEC_DB, VEC_BP, VEC_UD, VEC_GP, VEC_PF};

static void begin(void) {
    struct cpu *c = this_cpu();
    u64 top = (u64)kernel_stack + sizeof(kernel_stack);

    memcpy(gdt, c->gdt, sizeof(c->gdt));
    gdt[6] = 0x00cff3000000ffff;
    gdt[7] = 0x00affb000000ffff;
    load_gdt(gdt, sizeof(gdt) - 1);
    memcpy(c->tss + 4, &top, 8);
    for (u32 i = 0; i < sizeof(catches); i++) interrupt_handler(catches[i], leave);
    user_pages(true);
}
static bool finish(void) {
    user_pages(false);
    for (u32 i = 0; i < sizeof(catches); i++) interrupt_handler(catches[i], NULL);
    load_gdt(this_cpu()->gdt, sizeof(this_cpu()->gdt) - 1);
    return true;
}

/* Up to 8 bytes of code, behind which UD2 tells that they were executed. */
static void run(const char *name, const char *bytes, u32 count, u64 rflags, u64 address) {
    memcpy(user.code, bytes, count);
    memcpy(user.code + count, "\x0f\x0b", 2);
    user_enter((u64)user.code, (u64)(&user + 1), rflags | BIT(1), address);
    if (seen.vector == VEC_UD && seen.rip == (u64)user.code + count)
        value("%s ok", name);
    else
        value("%s %s(%lx)%s", name, exception_name((u32)seen.vector), seen.error,
              seen.rip == (u64)user.code ? "" : " off");
}
#define RUN(name, bytes)           run(name, bytes, sizeof(bytes) - 1, 0, (u64)user.stack)
#define RUN_AT(name, bytes, where) run(name, bytes, sizeof(bytes) - 1, 0, where)
#define RUN_IOPL(name, bytes)      run(name, bytes, sizeof(bytes) - 1, IOPL_3, (u64)user.stack)

/* The instructions that exit, and others that are the kernel's. */
static bool privileged(void) {
    begin();
    RUN("hlt", "\xf4");
    RUN("cli", "\xfa");
    RUN("in", "\xec");
    RUN("out", "\xe6\x80");
    RUN("ins", "\x6c");
    RUN("outs", "\x6e");
    RUN("rdmsr", "\x0f\x32");
    RUN("wrmsr", "\x0f\x30");
    RUN("cr0", "\x0f\x20\xc0");
    RUN("to-cr0", "\x0f\x22\xc0");
    RUN("to-cr3", "\x0f\x22\xd8");
    RUN("to-cr4", "\x0f\x22\xe0");
    RUN("cr8", "\x44\x0f\x20\xc0");
    RUN("to-cr8", "\x44\x0f\x22\xc0");
    RUN("dr7", "\x0f\x21\xf8");
    RUN("to-dr7", "\x0f\x23\xf8");
    return finish();
}

static bool privileged_more(void) {
    begin();
    RUN("wbinvd", "\x0f\x09");
    RUN("invd", "\x0f\x08");
    RUN("invlpg", "\x0f\x01\x3b");
    RUN("clts", "\x0f\x06");
    RUN("lmsw", "\x0f\x01\xf0");
    RUN("lgdt", "\x0f\x01\x13");
    RUN("lidt", "\x0f\x01\x1b");
    RUN("lldt", "\x0f\x00\xd0");
    RUN("ltr", "\x0f\x00\xd8");
    RUN("swapgs", "\x0f\x01\xf8");
    RUN("monitor", "\x0f\x01\xc8");
    RUN("mwait", "\x0f\x01\xc9");
    RUN("vmcall", "\x0f\x01\xc1");
    RUN("vmmcall", "\x0f\x01\xd9");
    RUN("int", "\xcd\x50"); /* the gate is the kernel's */
    RUN("int3", "\xcc");
    if (read_cr4() & CR4_OSXSAVE) RUN("xsetbv", "\x0f\x01\xd1");
    return finish();
}

/* What is allowed, and what CR4 and IOPL allow or forbid. */
static bool allowed(void) {
    u64 cr4 = read_cr4();

    begin();
    RUN("cpuid", "\x0f\xa2");
    RUN("pause", "\xf3\x90");
    RUN("rdtsc", "\x0f\x31");
    RUN("rdpmc", "\x0f\x33");
    RUN("sgdt", "\x0f\x01\x03");
    RUN("str", "\x0f\x00\xc8");
    RUN("smsw", "\x0f\x01\xe0");
    write_cr4(cr4 | CR4_TSD);
    RUN("tsd", "\x0f\x31");
    if (cpuid(0x80000001, 0).edx & BIT(27)) RUN("tsd-rdtscp", "\x0f\x01\xf9");
    write_cr4(cr4);
    RUN_IOPL("cli", "\xfa");
    RUN_IOPL("in", "\xec");
    RUN_IOPL("ins", "\x6c");
    RUN_IOPL("outs", "\x6e");
    RUN_IOPL("hlt", "\xf4");
    return finish();
}

/* mov (%rbx), %eax; mov %eax, (%rbx); movsl from there and to there. */
static bool pages(void) {
    u64 *entry = &boot_directories[DEVICE >> 21], old = *entry;

    if (lapic_is_x2()) return true;
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
    lapic_write(LAPIC_TIMER_INITIAL, 5);
    begin();
    *entry = 0xfee00000 | 0x9f; /* the user's */
    flush();
    RUN_AT("read", "\x8b\x03", DEVICE + LAPIC_TIMER_INITIAL);
    value("%lx", seen.rax);
    RUN_AT("write", "\x89\x03", DEVICE + LAPIC_TIMER_INITIAL);
    value("%x", lapic_read(LAPIC_TIMER_INITIAL));
    *entry = 0xfee00000 | 0x9d; /* and read-only, CR0.WP or not */
    flush();
    RUN_AT("read-only", "\x83\x0b\x01", DEVICE + LAPIC_TIMER_INITIAL);
    *entry = 0xfee00000 | 0x9b; /* the kernel's */
    flush();
    RUN_AT("kernels", "\x8b\x03", DEVICE + LAPIC_TIMER_INITIAL);
    RUN_AT("kernels-write", "\x89\x03", DEVICE + LAPIC_TIMER_INITIAL);
    RUN_AT("nobodys", "\x8b\x03", 0x8000000000000000);
    *entry = old;
    lapic_write(LAPIC_TIMER_INITIAL, 0);
    return finish();
}

const struct check user_checks[] = {
    {"user-privileged", privileged},
    {"user-privileged-more", privileged_more},
    {"user-allowed", allowed},
    {"user-pages", pages},
    {0},
};
