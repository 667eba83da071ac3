/* Several vCPUs of one partition against each other, and all of them against the hypervisor. CPU 0 executes what CPU 1
 * is changing: instructions that exit, and the page tables below its device accesses. The other CPUs are stopped and
 * started by INIT and SIPI, in 16- and 32-bit code (crowd/legacy.S), and get NMIs and interrupts all the while.
 * Whatever comes of it is right, as long as nobody else notices. Ends with `crowd: done rounds N faults N nmis N
 * started N`.
 *
 * Options: rounds= (20000), do=task-switch: one of them ends in a hardware task switch, which ends the partition. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/lib/noise.h"
#include "guests/lib/guest.h"

#define LEGACY    0x9000
#define COUNTS    ((volatile u16 *)0x9f00)
#define ASKED     ((volatile u16 *)0x9f20)
#define STAGES    5
#define WINDOW    BIT(39) /* the second PML4 entry: ours to map as we like */
#define IPI       0x50
#define CODE      16
#define LAPIC_PTE (0xfee00000 | 0x13)

extern const char legacy_start[], legacy_end[];
extern u64 boot_pml4[];

static u8 code[4096] __attribute__((aligned(4096)));
static u8 ram[4096] __attribute__((aligned(4096)));
static u64 pdpt[512] __attribute__((aligned(4096)));
static u64 directory[512] __attribute__((aligned(4096)));
static u64 table[512] __attribute__((aligned(4096)));
static u32 running; /* 1: change code and tables; 2: end */
static u64 faults, nmis;

/* Each begins at the first byte and ends in RET; some are cut in two by a change. */
static const u8 forms[][CODE] = {
    {0x44, 0x0f, 0x22, 0xc0, 0xc3}, /* mov cr8, rax */
    {0x44, 0x0f, 0x20, 0xc1, 0xc3}, /* mov rcx, cr8 */
    {0x0f, 0xa2, 0xc3},             /* cpuid */
    {0x6e, 0xc3},                   /* outsb */
    {0xf3, 0x6e, 0xc3},             /* rep outsb */
    {0x89, 0x07, 0xc3},             /* mov [rdi], eax */
    {0x48, 0x89, 0x07, 0xc3},       /* mov [rdi], rax */
    {0xf0, 0x0f, 0xb1, 0x0f, 0xc3}, /* lock cmpxchg [rdi], ecx */
    {0xc7, 0x07, 1, 2, 3, 4, 0xc3}, /* mov dword [rdi], imm */
    {0xf3, 0xa4, 0xc3},             /* rep movsb */
    {0x0f, 0x32, 0xc3},             /* rdmsr */
    {0x0f, 0x01, 0xc1, 0xc3},       /* vmcall */
    {0x0f, 0x01, 0xd9, 0xc3},       /* vmmcall */
    {0x0f, 0x06, 0xc3},             /* clts */
    {0xe4, 0x80, 0xc3},             /* in al, 0x80 */
    {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x0f, 0xa2, 0xc3}, /* long cpuid */
};

/* CPU 1: one of the forms over the other, byte by byte and in one go; one page behind the address, and another. */
static void change(void) {
    static const u64 pages[] = {LAPIC_PTE, 0xfec00000 | 0x13, 0xb0000000 | 3, 0, 0xfee00000 | 1, BIT(40) | 3 | BIT(51)};
    u64 seed = noise();
    const u8 *form = forms[seed % ARRAY_SIZE(forms)];

    if (seed & BIT(20)) {
        for (u32 i = 0; i < CODE; i++) __atomic_store_n(&code[i], form[i], __ATOMIC_RELAXED);
    } else {
        u64 first;

        memcpy(&first, form, sizeof(first));
        __atomic_store_n((u64 *)code, first, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&table[0], seed & BIT(21) ? (u64)ram | 3 : pages[(seed >> 24) % (ARRAY_SIZE(pages) - 1)],
                     __ATOMIC_RELAXED);
}

static void work(u32 index) {
    if (index != 1) return;
    while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) != 2) {
        if (__atomic_load_n(&running, __ATOMIC_ACQUIRE)) change();
        for (u64 i = noise() & 0xff; i; i--) cpu_pause();
    }
}

static void execute(void *argument) {
    u64 at = (u64)argument, count = 4;

    __asm__ volatile(
        "movq %%cr3, %%rax\n\tmovq %%rax, %%cr3\n\txorl %%eax, %%eax\n\tmovq %2, %%rsi\n\tmovl $0x80, %%edx\n\t"
        "call *%3"
        : "+D"(at), "+c"(count)
        : "r"((u64)ram), "r"((u64)code)
        : "rax", "rbx", "rdx", "rsi", "memory");
}

static void on_nmi(struct trap_frame *frame) {
    (void)frame;
    nmis++;
}
static void on_ipi(struct trap_frame *frame) {
    (void)frame;
    lapic_eoi();
}

/* Stops the last CPU and starts it in old code, at any moment of its life. */
static void restart_last(u32 last, bool at_once) {
    lapic_init_cpu(smp_apic_id(last));
    if (!at_once) delay_us(200);
    lapic_start_cpu(smp_apic_id(last), LEGACY >> 12);
    lapic_start_cpu(smp_apic_id(last), LEGACY >> 12);
}

static void map_window(void) {
    boot_pml4[WINDOW >> 39 & 511] = (u64)pdpt | 3;
    pdpt[0] = (u64)directory | 3;
    directory[0] = (u64)table | 3;
    table[0] = (u64)ram | 3;
    table[1] = 0xfee00000 | 0x13; /* what crosses the page goes to a device */
}

void guest_main(void) {
    u64 rounds = option_number("rounds", 20000);
    u32 last = smp_start(work) - 1;

    if (last < 2) {
        print("crowd: three cpus are needed\n");
        return;
    }
    for (u32 vector = 32; vector < 256; vector++) interrupt_handler((u8)vector, on_ipi);
    interrupt_handler(VEC_NMI, on_nmi);
    map_window();
    memcpy((void *)LEGACY, legacy_start, (size_t)(legacy_end - legacy_start));
    *ASKED = option_is("do", "task-switch");
    if (*ASKED) {
        print("crowd: about to switch tasks\n");
        console_drain();
    }
    memcpy(code, forms[0], CODE);
    __atomic_store_n(&running, 1, __ATOMIC_RELEASE);
    interrupts_on();
    for (u64 i = 0; i < rounds; i++) {
        u64 offset = i % 3 ? noise() & 0xffc : 0xffe;

        faults += fault_try(execute, (void *)(WINDOW + offset)).raised;
        if (i % 16 == 0) lapic_nmi_self();
        if (i % 8 == 0) lapic_ipi(smp_apic_id((u32)i / 8 % (last + 1)), IPI);
        if (i % 64 == 0) restart_last(last, i % 128);
    }
    restart_last(last, false);
    delay_us(300000);
    __atomic_store_n(&running, 2, __ATOMIC_RELEASE);
    interrupts_off();
    print("crowd: stages %u %u %u %u %u\n", COUNTS[0], COUNTS[1], COUNTS[2], COUNTS[3], COUNTS[4]);
    print("crowd: done rounds %lu faults %lu nmis %lu started %u\n", rounds, faults, nmis, COUNTS[STAGES - 1]);
}
