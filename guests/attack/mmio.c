/* Device memory and memory that is not there, by every instruction form that can reach it, and over
 * the borders of both. The hypervisor carries each of these out by itself: it must neither lose its
 * way nor write where the form does not say. */
#include "core/base/bits.h"
#include "guests/attack/attack.h"

/* One form: the address in rdi, our own memory in rsi, 3 in rcx. */
#define FORM(id, text)                                                                                                 \
    static void id(void *at) {                                                                                         \
        u64 to = (u64)at, from = (u64)scratch, count = 3, value = 0x0102030405060708;                                  \
        __asm__ volatile(text : "+D"(to), "+S"(from), "+c"(count), "+a"(value) : : "rdx", "cc", "memory");             \
    }

FORM(load8, "movb (%%rdi), %%dl")
FORM(load8_high, "movb (%%rdi), %%dh")
FORM(load16, "movw (%%rdi), %%dx")
FORM(load32, "movl (%%rdi), %%edx")
FORM(load64, "movq (%%rdi), %%rdx")
FORM(store8, "movb %%al, (%%rdi)")
FORM(store8_high, "movb %%ah, (%%rdi)")
FORM(store16, "movw %%ax, (%%rdi)")
FORM(store32, "movl %%eax, (%%rdi)")
FORM(store64, "movq %%rax, (%%rdi)")
FORM(store_imm8, "movb $0x5a, (%%rdi)")
FORM(store_imm16, "movw $0x5aa5, (%%rdi)")
FORM(store_imm32, "movl $0x5aa5, (%%rdi)")
FORM(store_imm64, "movq $-2, (%%rdi)")
FORM(movzx8, "movzbl (%%rdi), %%edx")
FORM(movzx16, "movzwq (%%rdi), %%rdx")
FORM(movsx8, "movsbw (%%rdi), %%dx")
FORM(movsxd, "movslq (%%rdi), %%rdx")
FORM(add, "addl %%eax, (%%rdi)\n\taddq (%%rdi), %%rdx")
FORM(or, "orw %%ax, (%%rdi)\n\torb (%%rdi), %%dl")
FORM(adc, "adcq $1, (%%rdi)")
FORM(sbb, "sbbb $1, (%%rdi)")
FORM(and, "andl $-1, (%%rdi)")
FORM(sub, "subq %%rax, (%%rdi)")
FORM(xor, "xorb $0xff, (%%rdi)")
FORM(cmp, "cmpq %%rax, (%%rdi)\n\tcmpl $0, (%%rdi)")
FORM(test, "testb $1, (%%rdi)\n\ttestq %%rax, (%%rdi)")
FORM(inc, "incl (%%rdi)\n\tdecb (%%rdi)")
FORM(not, "notq (%%rdi)\n\tnegw (%%rdi)")
FORM(xchg, "xchgl %%eax, (%%rdi)")
FORM(xadd, "lock xaddq %%rax, (%%rdi)")
FORM(cmpxchg, "lock cmpxchgl %%ecx, (%%rdi)")
FORM(bit, "btl $3, (%%rdi)\n\tlock btsl $31, (%%rdi)\n\tbtrq $63, (%%rdi)\n\tbtcw $0, (%%rdi)")
FORM(bit_far, "btl %%ecx, (%%rdi)")
FORM(push, "pushq (%%rdi)\n\tpopq %%rdx")
FORM(pop, "pushq %%rax\n\tpopq (%%rdi)")
FORM(movs_to, "rep movsb")
FORM(movs_from, "xchgq %%rsi, %%rdi\n\trep movsl")
FORM(movs_back, "std\n\trep movsw\n\tcld")
FORM(stos, "rep stosq")
FORM(lods, "xchgq %%rsi, %%rdi\n\tlodsb\n\tlodsq")
FORM(cmps, "repe cmpsb")
FORM(scas, "repne scasl")
FORM(sib, "movl -12(%%rdi, %%rcx, 4), %%edx")
FORM(address32, "movl (%%edi), %%edx\n\tmovw %%ax, (%%edi)")

static void (*const forms[])(void *) = {
    load8,   load8_high, load16,      load32,      load64,      store8, store8_high, store16, store32,
    store64, store_imm8, store_imm16, store_imm32, store_imm64, movzx8, movzx16,     movsx8,  movsxd,
    add,     or,         adc,         sbb,         and,         sub,    xor,         cmp,     test,
    inc,     not,        xchg,        xadd,        cmpxchg,     bit,    bit_far,     push,    pop,
    movs_to, movs_from,  movs_back,   stos,        lods,        cmps,   scas,        sib,     address32,
};

static void all_forms(u64 at) {
    for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
        for (u32 j = 0; j < 64; j++) scratch[j] = (u8)j;
        may_fault(forms[i], (void *)at, 0, "form", i);
    }
}

static void nowhere(void) {
    all_forms(HOLE);
    all_forms(HOLE + 1);
    check(*(volatile u64 *)HOLE == ~0ull, "memory appeared");
}

/* Over the end of our memory, over both ends of the two device pages, and the last bytes of all. */
static void borders(void) {
    const u64 at[] = {memory_bytes(), IOAPIC_PAGE,          IOAPIC_PAGE + PAGE_4K,
                      LAPIC_PAGE,     LAPIC_PAGE + PAGE_4K, HOLE + PAGE_2M};

    for (u32 i = 0; i < ARRAY_SIZE(at); i++)
        for (u32 back = 1; back < 8; back += 2) all_forms(at[i] - back);
    all_forms(GIB(4) - 64);
    lapic_cpu_init();
}

/* The registers of both pages and between, by one form each: undefined offsets among them. The
 * command registers are left to lapic.c, and what is broken is put right. */
static void pages(void) {
    for (u32 offset = 0; offset < PAGE_4K; offset += offset % 16 ? 5 : 1) {
        u32 which = offset % ARRAY_SIZE(forms);

        if (offset / 16 == LAPIC_ICR / 16) continue;
        may_fault(load32, (void *)(LAPIC_PAGE + offset), 0, "lapic", offset);
        may_fault(forms[which], (void *)(IOAPIC_PAGE + offset), 0, "ioapic", offset);
        if (forms[which] != movs_back && offset + 24 < LAPIC_ICR)
            may_fault(forms[which], (void *)(LAPIC_PAGE + offset), 0, "lapic", offset);
    }
    lapic_cpu_init();
    for (u32 pin = 0; pin < 24; pin++) ioapic_write(IOAPIC_TABLE(pin), IOAPIC_MASKED);
    check(lapic_id() == this_cpu()->apic_id, "the id changed to %u", lapic_id());
}

const struct attempt mmio_attempts[] = {
    {"mmio-nowhere", nowhere},
    {"mmio-borders", borders},
    {"mmio-pages", pages},
    {0},
};
