/* Routes ports and interrupt lines between the devices of the board. See board.h. */
#include "core/vdev/board.h"

#include "core/base/bits.h"

#define COM1_PORT   0x3f8
#define COM2_PORT   0x2f8
#define IOAPIC_PIT  2    /* pin of line 0; pin 0 carries nothing */
#define IOAPIC_DATA 0x10 /* IOWIN */
#define PIT_RATE    0x34 /* 8254, Control Word Format: channel 0, two bytes, mode 2, binary */

static void set_line(struct vboard *b, u32 line, bool level) {
    if ((b->lines >> line & 1) == level) return;
    b->lines ^= 1u << line;
    vpic_set_line(&b->pic, line, level, b->host);
    vioapic_set_line(&b->ioapic, line == BOARD_IRQ_PIT ? IOAPIC_PIT : line, level, b->host);
}

/* Edges that came and went since the last look are one pulse. The line then stays high until the
 * next look: a fall right behind the edge would take the request back at the 8259. */
static void update_pit(struct vboard *b) {
    bool edge = vpit_take_edge(&b->pit);

    if (vhpet_legacy(&b->hpet)) return;
    if (edge) {
        set_line(b, BOARD_IRQ_PIT, false);
        set_line(b, BOARD_IRQ_PIT, true);
        return;
    }
    set_line(b, BOARD_IRQ_PIT, vpit_out0(&b->pit));
}

/* Is line 0 masked at both controllers, or the HPET's? Then nobody waits for the 8254, whose state is made up for when
 * one of them is accessed: a guest that never looks at it is not interrupted 18 times a second. */
static bool pit_unseen(const struct vboard *b) {
    return vhpet_legacy(&b->hpet) || (vpic_masked(&b->pic, BOARD_IRQ_PIT) && vioapic_masked(&b->ioapic, IOAPIC_PIT));
}

static void look_at_pit(struct vboard *b, u64 now) {
    if (!pit_unseen(b)) return;
    vpit_tick(&b->pit, now);
    update_pit(b);
}

static void update_rtc(struct vboard *b) {
    if (!vhpet_legacy(&b->hpet)) set_line(b, BOARD_IRQ_RTC, vrtc_line(&b->rtc));
}

/* Lines 0 and 8 are the HPET's while it replaces their devices. */
static void update_hpet(struct vboard *b) {
    static const u8 lines[] = {BOARD_IRQ_PIT, BOARD_IRQ_RTC, 10, 11};
    u32 edges, up = vhpet_lines(&b->hpet, &edges);

    for (u32 i = vhpet_legacy(&b->hpet) ? 0 : 2; i < ARRAY_SIZE(lines); i++) {
        if (edges >> lines[i] & 1) set_line(b, lines[i], false);
        set_line(b, lines[i], up >> lines[i] & 1);
    }
}

static void update_pm(struct vboard *b) { set_line(b, BOARD_IRQ_SCI, vpm_sci(&b->pm)); }

static void update_com1(struct vboard *b) { set_line(b, BOARD_IRQ_COM1, vuart_intr(&b->com1)); }

static void update_com2(struct vboard *b) { set_line(b, BOARD_IRQ_COM2, vuart_intr(&b->control->uart)); }

void vboard_init(struct vboard *b, const struct vboard_config *config, const struct vdev_host *host) {
    *b = (struct vboard){.host = host, .fwcfg = config->fwcfg, .control = config->control};
    vpic_reset(&b->pic, 1u << BOARD_IRQ_SCI);
    vpit_reset(&b->pit);
    vrtc_reset(&b->rtc, config->wall_clock, config->memory);
    vpm_reset(&b->pm);
    vhpet_reset(&b->hpet);
    vuart_reset(&b->com1, config->com1_tx, config->com1_rx);
    vkbc_reset(&b->kbc);
    vpci_init(&b->pci, config->pci, config->pci_count, config->pci_host);
    vioapic_reset(&b->ioapic, config->ioapic_id);
    for (u32 i = 0; i < config->pci_count; i++) {
        b->ioapic.pci |= 1u << config->pci[i].intx_pin;
        vboard_pci_line(b, config->pci[i].intx_pin, false);
    }
    /* As firmware leaves it, 18.2 times a second: count 0 is 65,536. */
    if (!config->at_reset) {
        vpit_write(&b->pit, VPIT_CONTROL_PORT, PIT_RATE, 0);
        vpit_write(&b->pit, VPIT_PORT, 0, 0);
        vpit_write(&b->pit, VPIT_PORT, 0, 0);
    }
    update_pit(b); /* OUT0 is high */
}

static u8 in_byte(struct vboard *b, u16 port, u64 now) {
    u8 value;

    switch (port) {
    case VPIC_MASTER_PORT ... VPIC_MASTER_PORT + 1:
    case VPIC_SLAVE_PORT ... VPIC_SLAVE_PORT + 1:
    case VPIC_ELCR_PORT ... VPIC_ELCR_PORT + 1:
        if (port % 2 == 0) look_at_pit(b, now); /* requests; the other port is the mask */
        return vpic_read(&b->pic, port, b->host);
    case VPIT_PORT ... VPIT_CONTROL_PORT:
    case VPIT_SYSTEM_PORT:
        value = vpit_read(&b->pit, port, now);
        update_pit(b);
        return value;
    case VKBC_DATA_PORT:
    case VKBC_COMMAND_PORT:
    case VKBC_PORT92: return vkbc_read(&b->kbc, port);
    case VRTC_PORT ... VRTC_PORT + 1:
        value = vrtc_read(&b->rtc, port, now);
        update_rtc(b);
        return value;
    case COM1_PORT ... COM1_PORT + 7:
        value = vuart_read(&b->com1, port - COM1_PORT);
        update_com1(b);
        return value;
    case COM2_PORT ... COM2_PORT + 7:
        if (!b->control) return 0xff;
        value = vcontrol_read(b->control, port - COM2_PORT);
        update_com2(b);
        return value;
    case VPM_EVENT_PORT ... VPM_CONTROL_PORT + 1:
    case VPM_TIMER_PORT ... VPM_TIMER_PORT + 3:
        value = vpm_read(&b->pm, port, now);
        update_pm(b);
        return value;
    case RESET_PORT: return vpm_reset_read(&b->pm);
    case VFWCFG_DATA_PORT: return b->fwcfg.present ? vfwcfg_read(&b->fwcfg) : 0xff;
    default: return 0xff;
    }
}

static void out_byte(struct vboard *b, u16 port, u8 value, u64 now) {
    switch (port) {
    case VPIC_MASTER_PORT ... VPIC_MASTER_PORT + 1:
    case VPIC_SLAVE_PORT ... VPIC_SLAVE_PORT + 1:
    case VPIC_ELCR_PORT ... VPIC_ELCR_PORT + 1:
        look_at_pit(b, now);
        vpic_write(&b->pic, port, value, b->host);
        break;
    case VPIT_PORT ... VPIT_CONTROL_PORT:
    case VPIT_SYSTEM_PORT:
        vpit_write(&b->pit, port, value, now);
        update_pit(b);
        break;
    case VKBC_DATA_PORT:
    case VKBC_COMMAND_PORT:
    case VKBC_PORT92: vkbc_write(&b->kbc, port, value, b->host); break;
    case VRTC_PORT ... VRTC_PORT + 1:
        vrtc_write(&b->rtc, port, value, now);
        update_rtc(b);
        break;
    case COM1_PORT ... COM1_PORT + 7:
        vuart_write(&b->com1, port - COM1_PORT, value);
        update_com1(b);
        break;
    case COM2_PORT ... COM2_PORT + 7:
        if (!b->control) break;
        vcontrol_write(b->control, port - COM2_PORT, value);
        update_com2(b);
        break;
    case VPM_EVENT_PORT ... VPM_CONTROL_PORT + 1:
    case VPM_TIMER_PORT ... VPM_TIMER_PORT + 3:
        vpm_write(&b->pm, port, value, now, b->host);
        update_pm(b);
        break;
    case RESET_PORT: vpm_reset_write(&b->pm, value, b->host); break;
    default: break;
    }
}

/* A wide access to byte-wide ports becomes one access per byte, lowest port first, as the bridge to
 * an 8-bit bus makes it. Only the PCI data window takes every size whole, and its address register
 * double words. */
static bool is_pci(u16 port, u32 size) {
    if (port >= VPCI_DATA_PORT) return port + size <= VPCI_DATA_PORT + 4;
    return port == VPCI_ADDRESS_PORT && size == 4;
}

u32 vboard_in(struct vboard *b, u16 port, u32 size, u64 now) {
    u32 value = 0;

    if (size == 1 && port < VPCI_DATA_PORT) return in_byte(b, port, now);
    if (port == VPM_TIMER_PORT && size == 4) /* a clock source: worth the shortcut */
        return vpm_timer(now);
    if (is_pci(port, size) && port >= VPCI_DATA_PORT && vfwcfg_bridge(&b->fwcfg, vpci_address_read(&b->pci), &value))
        return value >> (8 * (port - VPCI_DATA_PORT)) & 0xffffffffu >> (32 - 8 * size);
    if (is_pci(port, size))
        return port == VPCI_ADDRESS_PORT ? vpci_address_read(&b->pci)
                                         : vpci_data_read(&b->pci, port - VPCI_DATA_PORT, size);
    for (u32 i = 0; i < size; i++) value |= (u32)in_byte(b, (u16)(port + i), now) << (8 * i);
    return value;
}

void vboard_out(struct vboard *b, u16 port, u32 size, u32 value, u64 now) {
    if (size == 1 && port < VPCI_DATA_PORT) {
        out_byte(b, port, (u8)value, now);
        return;
    }
    if (is_pci(port, size)) {
        if (port == VPCI_ADDRESS_PORT)
            vpci_address_write(&b->pci, value);
        else
            vpci_data_write(&b->pci, port - VPCI_DATA_PORT, size, value);
        return;
    }
    if (port == VFWCFG_SELECTOR_PORT && size == 2 && b->fwcfg.present) {
        vfwcfg_select(&b->fwcfg, value);
        return;
    }
    for (u32 i = 0; i < size; i++) out_byte(b, (u16)(port + i), (u8)(value >> (8 * i)), now);
}

/* Registers are double words; a narrower read sees its part. */
u32 vboard_ioapic_read(struct vboard *b, u32 offset, u32 size, u64 now) {
    (void)now; /* no register shows the level of an input */
    u32 value = vioapic_read(&b->ioapic, offset & ~3u) >> (offset % 4 * 8);
    return size >= 4 ? value : value & ((1u << (8 * size)) - 1);
}

/* A narrower write reaches the registers of one byte, select and EOI; IOWIN takes double words only
 * (82093AA, I/O Window Register). */
void vboard_ioapic_write(struct vboard *b, u32 offset, u32 size, u32 value, u64 now) {
    if (offset == IOAPIC_DATA) look_at_pit(b, now); /* what may open pin 2 */
    if (offset % 4 != 0 || (offset == IOAPIC_DATA && size != 4)) return;
    vioapic_write(&b->ioapic, offset, value, b->host);
}

void vboard_hpet(struct vboard *b, u32 offset, u32 size, bool write, u64 *value, u64 now) {
    if (write) {
        look_at_pit(b, now); /* edges of before line 0 changes hands are nobody's */
        vhpet_write(&b->hpet, offset, size, *value, now);
    } else {
        *value = vhpet_read(&b->hpet, offset, size, now);
    }
    update_hpet(b);
    update_pit(b);
    update_rtc(b);
}

void vboard_pci_line(struct vboard *b, u32 pin, bool asserted) {
    vioapic_set_line(&b->ioapic, pin, !asserted, b->host);
}

void vboard_eoi(struct vboard *b, u8 vector, u64 now) {
    (void)now;
    vioapic_eoi(&b->ioapic, vector, b->host);
}

u8 vboard_pic_ack(struct vboard *b, u64 now) {
    (void)now;
    return vpic_ack(&b->pic, b->host);
}

u64 vboard_deadline(const struct vboard *b) {
    u64 deadline = min_u64(pit_unseen(b) ? NEVER : vpit_deadline(&b->pit), vrtc_deadline(&b->rtc));
    deadline = min_u64(deadline, vhpet_deadline(&b->hpet));
    return min_u64(deadline, vpm_deadline(&b->pm));
}

void vboard_tick(struct vboard *b, u64 now) {
    vpit_tick(&b->pit, now);
    update_pit(b);
    vrtc_tick(&b->rtc, now);
    update_rtc(b);
    vpm_tick(&b->pm, now);
    update_pm(b);
    vhpet_tick(&b->hpet, now);
    update_hpet(b);
    vuart_tick(&b->com1);
    update_com1(b);
}
