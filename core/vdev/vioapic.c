/* The I/O APIC: 24 pins, each with a redirection entry that says which message its interrupt
 * becomes. Under the board lock. Must never loop on what the guest wrote: a message is sent at most
 * once per pin and call. Source: Intel 82093AA datasheet; ICH9 datasheet, Advanced Programmable
 * Interrupt Controller (APIC). */
#include "core/vdev/vioapic.h"

#include "core/base/bits.h"

/* Offsets in the page. 82093AA, Memory Mapped Registers; EOI: ICH9, APIC Direct Registers. */
#define IO_SELECT 0x00
#define IO_WINDOW 0x10
#define IO_EOI    0x40

/* Indirect registers. 82093AA, IOAPIC Registers. */
#define REG_ID          0x00
#define REG_VERSION     0x01
#define REG_ARBITRATION 0x02
#define REG_REDIRECTION 0x10

#define ID_MASK  0x0f000000u
#define ID_SHIFT 24
#define VERSION  (0x20u | (u32)(VIOAPIC_PINS - 1) << 16)

/* Redirection entry. 82093AA, I/O Redirection Table Registers. */
#define RED_DELIVERY_SHIFT 8
#define RED_LOGICAL        BIT(11)
#define RED_LOW            BIT(13) /* asserted when low */
#define RED_REMOTE_IRR     BIT(14)
#define RED_LEVEL          BIT(15)
#define RED_MASKED         BIT(16)
#define RED_DEST_SHIFT     56
#define RED_LOW_WRITABLE   0x0001afffull /* all but delivery status and remote IRR */
#define RED_HIGH_WRITABLE  0xff00000000000000ull

static enum apic_delivery delivery(u64 entry) { return (enum apic_delivery)bits_get(entry, RED_DELIVERY_SHIFT, 3); }

/* 82093AA, Delivery Mode: NMI, INIT, SMI and ExtINT are edge triggered whatever bit 15 says. */
static bool is_level(u64 entry) {
    return (entry & RED_LEVEL) != 0 && (delivery(entry) == APIC_FIXED || delivery(entry) == APIC_LOWEST);
}

static void send(struct vioapic *io, u32 pin, const struct vdev_host *host) {
    u64 *entry = &io->redirection[pin];
    struct apic_msg msg = {
        .dest = (u32)(*entry >> RED_DEST_SHIFT),
        .logical = (*entry & RED_LOGICAL) != 0,
        .vector = (u8)*entry,
        .delivery = delivery(*entry),
        .level = is_level(*entry),
        .assert = true,
        .shorthand = APIC_DEST,
    };

    switch (msg.delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
    case APIC_NMI:
    case APIC_INIT:
    case APIC_EXTINT: break;
    default: return; /* SMI has nowhere to go; the others are reserved */
    }
    /* 82093AA, Remote IRR: set when a local APIC accepts the interrupt. What nobody has accepted is sent anew with the
     * next write to the entry or change of the line. */
    if (host->apic_msg(host->ctx, &msg) && msg.level) *entry |= RED_REMOTE_IRR;
}

/* A level pin sends whenever it is asserted, open, and not yet at a local APIC. */
static void send_level(struct vioapic *io, u32 pin, const struct vdev_host *host) {
    u64 entry = io->redirection[pin];

    if (is_level(entry) && !(entry & (RED_MASKED | RED_REMOTE_IRR)) && (io->line & BIT(pin))) send(io, pin, host);
}

/* The asserted level of a pin follows from its voltage and polarity. */
static void update_line(struct vioapic *io, u32 pin) {
    bool high = (io->edge & BIT(pin)) != 0, low = (io->redirection[pin] & RED_LOW) != 0;

    if (high != low)
        io->line |= (u32)BIT(pin);
    else
        io->line &= ~(u32)BIT(pin);
}

static void write_low(struct vioapic *io, u32 pin, u32 value, const struct vdev_host *host) {
    u64 *entry = &io->redirection[pin];

    *entry = (*entry & ~RED_LOW_WRITABLE) | (value & RED_LOW_WRITABLE);
    /* Remote IRR has no meaning for an edge. Systems rely on this to clear one that got stuck. */
    if (!is_level(*entry)) *entry &= ~RED_REMOTE_IRR;
    /* A changed polarity may assert the pin. That is a level to serve, but not an edge: the input
     * has not moved. */
    update_line(io, pin);
    send_level(io, pin, host);
}

static u32 read_indirect(const struct vioapic *io, u32 reg) {
    u32 pin = (reg - REG_REDIRECTION) / 2;

    switch (reg) {
    case REG_ID:
    case REG_ARBITRATION: /* loaded with the id; there is no APIC bus to arbitrate for */ return io->id << ID_SHIFT;
    case REG_VERSION: return VERSION;
    default: break;
    }
    if (reg < REG_REDIRECTION || pin >= VIOAPIC_PINS) return 0;
    return (u32)(reg & 1 ? io->redirection[pin] >> 32 : io->redirection[pin]);
}

static void write_indirect(struct vioapic *io, u32 reg, u32 value, const struct vdev_host *host) {
    u32 pin = (reg - REG_REDIRECTION) / 2;

    if (reg == REG_ID) io->id = (value & ID_MASK) >> ID_SHIFT;
    if (reg < REG_REDIRECTION || pin >= VIOAPIC_PINS) return;
    if (reg & 1) {
        io->redirection[pin] = (io->redirection[pin] & ~RED_HIGH_WRITABLE) | ((u64)value << 32 & RED_HIGH_WRITABLE);
        send_level(io, pin, host);
    } else {
        write_low(io, pin, value, host);
    }
}

void vioapic_reset(struct vioapic *io, u32 id) {
    *io = (struct vioapic){.id = id & (ID_MASK >> ID_SHIFT)};
    for (u32 pin = 0; pin < VIOAPIC_PINS; pin++) io->redirection[pin] = RED_MASKED;
}

u32 vioapic_read(struct vioapic *io, u32 offset) {
    switch (offset) {
    case IO_SELECT: return io->select;
    case IO_WINDOW: return read_indirect(io, io->select);
    default: return 0; /* EOI is write-only, the rest reserved */
    }
}

void vioapic_write(struct vioapic *io, u32 offset, u32 value, const struct vdev_host *host) {
    switch (offset) {
    case IO_SELECT: io->select = value & 0xff; break;
    case IO_WINDOW: write_indirect(io, io->select, value, host); break;
    case IO_EOI: vioapic_eoi(io, (u8)value, host); break;
    default: break;
    }
}

void vioapic_set_line(struct vioapic *io, u32 pin, bool level, const struct vdev_host *host) {
    u32 bit, before = io->line;
    u64 entry;

    if (pin >= VIOAPIC_PINS) return;
    bit = (u32)BIT(pin);
    io->edge = level ? io->edge | bit : io->edge & ~bit;
    update_line(io, pin);
    entry = io->redirection[pin];
    if (is_level(entry))
        send_level(io, pin, host);
    else if ((io->line & ~before & bit) != 0 && !(entry & RED_MASKED))
        send(io, pin, host);
}

void vioapic_eoi(struct vioapic *io, u8 vector, const struct vdev_host *host) {
    for (u32 pin = 0; pin < VIOAPIC_PINS; pin++) {
        u64 *entry = &io->redirection[pin];

        /* 82093AA, Remote IRR: reset by an EOI whose vector matches this entry's. */
        if (!(*entry & RED_REMOTE_IRR) || (u8)*entry != vector) continue;
        *entry &= ~RED_REMOTE_IRR;
        if (io->pci & BIT(pin)) {
            io->edge |= (u32)BIT(pin);
            update_line(io, pin);
            host->eoi(host->ctx, pin);
        }
        send_level(io, pin, host);
    }
}
