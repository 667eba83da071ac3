#include "guests/lib/pc.h"

#include "guests/lib/acpi.h"
#include "guests/lib/cpu.h"

#define PIC1        0x20
#define PIC2        0xa0
#define PIT_CHANNEL 0x40
#define PIT_CONTROL 0x43
#define PORT_B      0x61

void pic_init(void) {
    out8(PIC1, 0x11); /* ICW1: edge, cascade, ICW4 follows. 8259A datasheet, Initialization */
    out8(PIC2, 0x11);
    out8(PIC1 + 1, PIC_VECTOR);
    out8(PIC2 + 1, PIC_VECTOR + 8);
    out8(PIC1 + 1, 0x04); /* the second one at input 2 */
    out8(PIC2 + 1, 0x02);
    out8(PIC1 + 1, 0x01); /* 8086 mode */
    out8(PIC2 + 1, 0x01);
    out8(PIC1 + 1, 0xff);
    out8(PIC2 + 1, 0xff);
}

void pic_mask(u32 line, bool masked) {
    u16 port = line < 8 ? PIC1 + 1 : PIC2 + 1;
    u8 bit = (u8)(1u << (line & 7)), old = in8(port);

    out8(port, masked ? (u8)(old | bit) : (u8)(old & ~bit));
    if (line >= 8 && !masked) out8(PIC1 + 1, in8(PIC1 + 1) & 0xfb);
}

void pic_eoi(u32 line) {
    if (line >= 8) out8(PIC2, 0x20);
    out8(PIC1, 0x20);
}

void pit_channel0_rate(u16 count) {
    out8(PIT_CONTROL, 0x34);
    out8(PIT_CHANNEL, (u8)count);
    out8(PIT_CHANNEL, (u8)(count >> 8));
}

void pit_channel2_start(u16 count) {
    u8 b = in8(PORT_B) & 0xfc;

    out8(PORT_B, b);
    out8(PIT_CONTROL, 0xb0);
    out8(PIT_CHANNEL + 2, (u8)count);
    out8(PIT_CHANNEL + 2, (u8)(count >> 8));
    out8(PORT_B, b | 1);
}

bool pit_channel2_done(void) { return in8(PORT_B) & 0x20; }

u32 ioapic_read(u32 reg) {
    mmio_write32(acpi.ioapic, reg);
    return mmio_read32(acpi.ioapic + 0x10);
}

void ioapic_write(u32 reg, u32 value) {
    mmio_write32(acpi.ioapic, reg);
    mmio_write32(acpi.ioapic + 0x10, value);
}

void ioapic_route(u32 pin, u8 vector, u32 flags, u32 apic_id) {
    ioapic_write(IOAPIC_TABLE(pin), IOAPIC_MASKED); /* never a half-written entry */
    ioapic_write(IOAPIC_TABLE(pin) + 1, apic_id << 24);
    ioapic_write(IOAPIC_TABLE(pin), flags | vector);
}
