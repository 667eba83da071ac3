/* Interrupt messages: forged ones by DMA, and whatever the function's own MSI registers take. */
#include "guests/dma/dma.h"

#include "core/base/bits.h"
#include "core/base/string.h"

#define OWN_VECTOR   0x70u
#define FIRST_VECTOR 16u /* SDM Vol 3A, Valid Interrupt Vectors: the local APIC takes none below */
#define MODES        8u
#define INIT         5u

volatile u32 arrived[256];

static void on_any(struct trap_frame *frame) {
    __atomic_fetch_add(&arrived[frame->vector & 0xff], 1, __ATOMIC_RELAXED);
    if (frame->vector >= FIRST_VECTOR) lapic_eoi();
}

void count_interrupts(void) {
    for (u32 vector = FIRST_VECTOR; vector < 32; vector++) interrupt_gate_plain((u8)vector);
    for (u32 vector = FIRST_VECTOR; vector < 256; vector++) interrupt_handler((u8)vector, on_any);
    interrupt_handler(VEC_NMI, on_any);
}

void drain(void) {
    u64 end = rdtsc() + ns_to_ticks(20000000);

    interrupts_on();
    while (rdtsc() < end) __asm__ volatile("nop\n\tpause");
    interrupts_off();
}

static void forget(void) {
    for (u32 i = 0; i < 256; i++) arrived[i] = 0;
}

static bool came(u32 vector) {
    u64 end = rdtsc() + ns_to_ticks(2000000000);

    interrupts_on();
    while (!arrived[vector] && rdtsc() < end) __asm__ volatile("nop\n\tpause");
    interrupts_off();
    return arrived[vector];
}

/* Nothing but what is said to be its own has arrived. */
static void check_nothing(u32 own, const char *what) {
    drain();
    for (u32 vector = 0; vector < 256; vector++)
        if (vector != own) check(!arrived[vector], "%s: vector 0x%x came", what, vector);
    forget();
}

void msi_off(const struct function *f) {
    u32 at = capability(f->id, CAP_MSI);

    if (at) config_write(f->id, at + 2, 2, 0);
}

void msi_set(const struct function *f, u64 address, u32 data) {
    u32 at = capability(f->id, CAP_MSI);
    bool wide = config_read(f->id, at + 2, 2) & 0x80;

    config_write(f->id, at + 2, 2, 0);
    config_write(f->id, at + 4, 4, (u32)address);
    if (wide) config_write(f->id, at + 8, 4, (u32)(address >> 32));
    config_write(f->id, at + (wide ? 12 : 8), 2, data);
    config_write(f->id, at + 2, 2, 1);
}

/* --- by DMA */

#define BURST  4u   /* double words of a transfer at most: QEMU takes each as a message */
#define ROUNDS 250u /* of transfers, whose data a device's buffer holds at once */

static struct forged { u32 address, count, data[BURST]; } forged[ROUNDS * 4];
static u32 forged_count;

static void forge_burst(u32 address, u32 count, u32 data, u32 step) {
    struct forged *f = &forged[forged_count];

    if (forged_count == min_u64(ARRAY_SIZE(forged), ROUNDS * edu_count)) {
        expect(false, "too many messages at once");
        return;
    }
    *f = (struct forged){.address = address, .count = count};
    for (u32 i = 0; i < count; i++) f->data[i] = data + i * step;
    forged_count++;
}

static void forge(u32 address, u32 data) { forge_burst(address, 1, data, 0); }

/* The data first goes to the devices. Own messages are open meanwhile, as entries of tables that could be named. */
static void send_forged(const char *what) {
    static u32 data[MAX_EDUS][ROUNDS][BURST];

    forget();
    for (u32 e = 0; e < edu_count; e++) msi_set(edus[e], msi_address(lapic_id()), OWN_VECTOR);
    for (u32 i = 0; i < forged_count; i++)
        memcpy(data[i % edu_count][i / edu_count], forged[i].data, sizeof(forged[i].data));
    for (u32 e = 0; e < edu_count; e++) dma_start(e, FROM_RAM, dma_address(data[e]), 0, sizeof(data[e]));
    dma_wait();
    for (u32 i = 0; i < forged_count; i++) {
        dma_start(i % edu_count, TO_RAM, forged[i].address, i / edu_count * sizeof(data[0][0]), 4 * forged[i].count);
        if (i % edu_count == edu_count - 1) dma_wait();
    }
    dma_wait();
    for (u32 e = 0; e < edu_count; e++) msi_off(edus[e]);
    forged_count = 0;
    check_nothing(OWN_VECTOR, what);
}

static const u8 some_vectors[] = {0x00, 0x10, 0x20, 0x24, 0x2f, 0x30, 0x31, 0x3f, 0x40, 0x80, 0xe0, 0xec, 0xfd, 0xfe};

/* All vectors to some destinations, its own among them, then all destinations in all modes. format: bit 4 of the
 * address; without it 0xfee00000 itself is left to forge_first. */
static void forge_all(u32 format, const char *what) {
    static const u8 dests[] = {0, 1, 2, 3, 0x80, 0xff};

    for (u32 i = 0; i < ARRAY_SIZE(dests); i++)
        for (u32 vector = 0; vector < 256; vector += BURST)
            if (dests[i] || format) forge_burst((u32)msi_address(dests[i]) | format, BURST, vector, 1);
    for (u32 vector = 0; vector < 256; vector++) forge((u32)LAPIC_PAGE | format | 8, vector);
    send_forged(what);
    for (u32 dest = 0; dest < 256; dest++)
        for (u32 mode = 0; mode < MODES; mode += BURST)
            if (dest || format)
                forge_burst((u32)msi_address(dest) | format, BURST,
                            mode << 8 | some_vectors[dest % ARRAY_SIZE(some_vectors)], 0x100);
    for (u32 mode = 0; mode < MODES; mode++) forge((u32)LAPIC_PAGE | format | 8, mode << 8 | 0x41);
    send_forged(what);
}

/* 0xfee00000: physical destination 0, and what amd-iommu remaps. */
static void forge_first(void) {
    for (u32 i = 0; i < ARRAY_SIZE(some_vectors); i++) forge(LAPIC_PAGE, some_vectors[i]);
    for (u32 mode = 1; mode < MODES; mode++) forge(LAPIC_PAGE, mode << 8 | 0x40);
    send_forged("message");
}

/* Every other destination and mode in the format without remapping. Breaks the victim's core if it gets there. */
static void forge_compatible(void) {
    static const u8 dests[] = {0, 1, 2, 3, 4, 15, 0xfe, 0xff};

    for (u32 i = 0; i < ARRAY_SIZE(dests); i++)
        for (u32 bits = 0; bits < 16; bits += 4)
            for (u32 mode = 0; mode < MODES; mode++)
                if (dests[i] || bits) forge((u32)msi_address(dests[i]) | bits, mode << 8 | (0x40 + mode));
    for (u32 i = 0; i < ARRAY_SIZE(some_vectors); i++) forge((u32)msi_address(1), some_vectors[i]);
    send_forged("message");
    forge_all(0, "message");
}

/* Handles of everything that has an entry, and of what has none: bit 4 the format, bit 3 a subhandle in the data. */
static void forge_remappable(void) {
    for (u32 handle = 0; handle < 64; handle++) forge((u32)LAPIC_PAGE | handle << 5 | 0x10, 0);
    for (u32 handle = 64; handle < BIT(15); handle = handle * 3 / 2) forge((u32)LAPIC_PAGE | handle << 5 | 0x10, 0);
    for (u32 sub = 1; sub < 0x10000; sub *= 2) forge((u32)LAPIC_PAGE | 0x18, sub);
    forge((u32)LAPIC_PAGE | 0x14, 0);
    for (u32 i = 0; i < 48; i++) forge((u32)(LAPIC_PAGE | (noise() & 0xfffec) | 0x10), (u32)noise());
    send_forged("handle");
    forge_all(0x10, "handle");
}

/* --- by its own registers */

static void raise(u32 e) { edu_write(e, EDU_RAISE, 1); }

/* Each vector to itself arrives as that and nothing else. */
static void msi_vectors(void) {
    forget();
    for (u32 vector = FIRST_VECTOR; vector < 256; vector++) {
        u32 e = vector % edu_count;

        msi_set(edus[e], msi_address(lapic_id()), vector);
        raise(e);
        expect(came(vector), "vector 0x%x does not come", vector);
        msi_off(edus[e]);
        arrived[vector] = 0;
    }
    check_nothing(256, "own message");
    for (u32 vector = 0; vector < FIRST_VECTOR; vector++) {
        msi_set(edus[0], msi_address(lapic_id()), vector);
        raise(0);
    }
    check_nothing(256, "vector below 16");
    msi_off(edus[0]);
}

static bool is_ours(u32 dest) {
    for (u32 i = 0; i < acpi.cpu_count; i++)
        if (acpi.apic_ids[i] == dest) return true;
    return dest == 0xff;
}

/* In all modes with some vectors; fixed with all of them if wanted. reg: of the data. */
static void raise_all(u32 e, u32 reg, bool all_vectors) {
    for (u32 data = 0; data < MODES << 8; data++) {
        u32 vector = data & 0xff;

        if (vector != OWN_VECTOR && vector % 64 != 0x24 && (!all_vectors || data > 0xff)) continue;
        config_write(edus[e]->id, reg, 2, data);
        raise(e);
    }
}

/* Other destinations: the victim must not feel it, nor this partition. */
static void msi_destinations(void) {
    forget();
    for (u32 dest = 0; dest < 256; dest++) {
        u32 e = dest % edu_count, at = capability(edus[e]->id, CAP_MSI);

        if (is_ours(dest)) continue;
        msi_set(edus[e], msi_address(dest), OWN_VECTOR);
        raise_all(e, at + (config_read(edus[e]->id, at + 2, 2) & 0x80 ? 12 : 8), dest % 64 == 2);
    }
    check_nothing(256, "foreign destination");
    for (u32 mode = 0; mode < MODES; mode++) { /* upper bits: ids that nobody here has */
        msi_set(edus[0], msi_address(lapic_id()) | 0x100ull << 32, mode << 8 | OWN_VECTOR);
        raise(0);
    }
    check_nothing(256, "wide destination");
    for (u32 e = 0; e < edu_count; e++) msi_off(edus[e]);
}

/* As a way to write memory: the address is anything. */
static void msi_addresses(void) {
    static const u64 others[] = {0x1000,      0x100000,   0x200000,   LAPIC_PAGE + MIB(1), LAPIC_PAGE - MIB(1),
                                 IOAPIC_PAGE, 0xfed80000, 0xfed90000, ECAM_BASE,           GIB(4) | LAPIC_PAGE};
    volatile u32 *word = (volatile u32 *)MIB(6);

    *word = 0x600d;
    for (u32 i = 0; i < ARRAY_SIZE(others) + 64; i++) {
        u64 address = i < ARRAY_SIZE(others) ? others[i] : noise() & ~(u64)0xfff00003;

        msi_set(edus[0], address, OWN_VECTOR);
        raise(0);
    }
    msi_set(edus[0], (u64)word, 0xbad);
    raise(0);
    msi_set(edus[0], option_number("victim", 0), 0xbad);
    raise(0);
    msi_off(edus[0]);
    check(*word == 0x600d, "a message to memory was written");
    check_nothing(256, "message elsewhere");
}

/* Delivery modes to itself. INIT would end this program, and start-up nothing. */
static void msi_modes(void) {
    for (u32 mode = 0; mode < MODES; mode++) {
        if (mode == INIT) continue;
        msi_set(edus[0], msi_address(lapic_id()), mode << 8 | OWN_VECTOR);
        raise(0);
        drain();
    }
    msi_off(edus[0]);
    expect(arrived[OWN_VECTOR] && arrived[VEC_NMI], "own messages do not come: fixed %u, nmi %u", arrived[OWN_VECTOR],
           arrived[VEC_NMI]);
    arrived[OWN_VECTOR] = arrived[VEC_NMI] = 0;
    check_nothing(256, "delivery mode");
}

/* --- switched while interrupts flow */

static u32 toggled; /* where the capability is */

/* Through the memory-mapped space: the ports belong to the other CPU. */
static void toggle_msi(void) {
    ecam_write(edus[0]->id, toggled + 2, 2, 0);
    ecam_write(edus[0]->id, toggled + 2, 2, 1);
}

static void msi_toggled(void) {
    forget();
    toggled = capability(edus[0]->id, CAP_MSI);
    msi_set(edus[0], msi_address(lapic_id()), OWN_VECTOR);
    helper_do(toggle_msi);
    interrupts_on();
    for (u32 i = 0; i < 3000; i++) raise(0);
    interrupts_off();
    helper_stop();
    msi_set(edus[0], msi_address(lapic_id()), OWN_VECTOR);
    arrived[OWN_VECTOR] = 0;
    raise(0);
    expect(came(OWN_VECTOR), "no message after all that");
    msi_off(edus[0]);
    drain();
    arrived[OWN_VECTOR] = 0;
    check_nothing(OWN_VECTOR, "toggled");
}

const struct attempt message_attempts[] = {
    {"forge-remappable", forge_remappable},
    {"forge-first", forge_first},
    {"forge-compatible", forge_compatible},
    {"msi-vectors", msi_vectors},
    {"msi-destinations", msi_destinations},
    {"msi-addresses", msi_addresses},
    {"msi-modes", msi_modes},
    {"msi-toggled", msi_toggled},
    {0},
};
