/* Random accesses to the board, with what must hold after each. Input: records of eight bytes. */
#include <stdint.h>
#include <stdlib.h>

#include "core/vdev/board.h"

struct fixture {
    struct vboard b;
    struct ring tx, rx;
    u8 tx_data[64], rx_data[64];
    bool intr;
};

static void require(bool holds) {
    if (!holds) abort();
}

static bool on_message(void *ctx, const struct apic_msg *msg) {
    (void)ctx;
    require(msg->dest <= 0xff);
    return true;
}
static void on_intr(void *ctx, bool level) {
    struct fixture *f = ctx;
    require(level != f->intr);
    f->intr = level;
}
static void on_power(void *ctx, enum power_request request) {
    (void)ctx;
    require(request == POWER_RESET || request == POWER_OFF);
}

/* Ports that decode come up far more often than chance would bring them. */
static u16 pick_port(u8 low, u8 high) {
    static const u16 bases[] = {0x20,  0x40,  0x60,  0x70,  0x90,  0xa0, 0x3f8, 0x4d0,
                                0x600, 0x604, 0x608, 0xcf8, 0xcfc, 0x42, 0x3f8, 0x510};
    if (high & 0x80) return (u16)(high << 8 | low);
    return (u16)(bases[high & 15] + (low & 7));
}

/* True if a device of the board decodes this port; others answer all ones and swallow writes. */
static bool has_port(u16 port) {
    switch (port) {
    case VPIC_MASTER_PORT ... VPIC_MASTER_PORT + 1:
    case VPIC_SLAVE_PORT ... VPIC_SLAVE_PORT + 1:
    case VPIC_ELCR_PORT ... VPIC_ELCR_PORT + 1:
    case VPIT_PORT ... VPIT_CONTROL_PORT:
    case VPIT_SYSTEM_PORT:
    case VKBC_DATA_PORT:
    case VKBC_COMMAND_PORT:
    case VKBC_PORT92:
    case VRTC_PORT ... VRTC_PORT + 1:
    case 0x3f8 ... 0x3ff:
    case VPM_EVENT_PORT ... VPM_CONTROL_PORT + 1:
    case VPM_TIMER_PORT ... VPM_TIMER_PORT + 3:
    case VFWCFG_DATA_PORT:
    case VPCI_ADDRESS_PORT ... VPCI_DATA_PORT + 3: return true;
    default: return false;
    }
}

static void step(struct fixture *f, const u8 *r, u64 *now) {
    static const u32 sizes[4] = {1, 1, 2, 4};
    u32 size = sizes[r[1] & 3], value = r[4] | (u32)r[5] << 8 | (u32)r[6] << 16 | (u32)r[7] << 24;
    u16 port = pick_port(r[2], r[3]);
    u64 wide;
    u8 byte;

    *now += (u64)r[1] << (r[0] >> 3); /* up to 9 minutes at once */
    switch (r[0] & 7) {
    case 0:
        value = vboard_in(&f->b, port, size, *now);
        require(size == 4 || value >> (8 * size) == 0);
        require(has_port(port) || size != 1 || value == 0xff);
        break;
    case 1: vboard_ioapic_write(&f->b, value & 0xff0, 4, value >> 8, *now); break;
    case 2:
        (void)vboard_ioapic_read(&f->b, value & 0xfff, size, *now);
        vboard_eoi(&f->b, r[4], *now);
        wide = (u64)r[6] << (r[7] & 63) | r[5];
        vboard_hpet(&f->b, (r[2] & 0x1f) * 16 + (r[3] & 8), 8, r[3] & 1, &wide, *now);
        break;
    case 3:
        if (f->intr) (void)vboard_pic_ack(&f->b, *now);
        break;
    case 4:
        (void)ring_put(&f->rx, r[4]);
        (void)ring_get(&f->tx, &byte);
        break;
    default: vboard_out(&f->b, port, size, value, *now); break;
    }
    vboard_tick(&f->b, *now);
    require(vboard_deadline(&f->b) > *now); /* else the run loop would spin */
    require(f->b.com1.used <= VUART_FIFO);
    require(f->intr == f->b.pic.intr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fixture f = {0};
    struct vdev_host host = {.ctx = &f, .apic_msg = on_message, .intr = on_intr, .power = on_power};
    u64 now = 0;

    ring_init(&f.tx, f.tx_data, sizeof(f.tx_data));
    ring_init(&f.rx, f.rx_data, sizeof(f.rx_data));
    const struct image_module disk = {"disk.img", "12345", 5};
    struct vboard_config config = {
        .memory = MIB(64),
        .wall_clock = size ? data[0] * (u64)100000000 : 0,
        .com1_tx = &f.tx,
        .com1_rx = &f.rx,
        .fwcfg = {.disks = &disk, .disk_count = 1, .cpus = 2, .present = size && (data[0] & 1)}};
    vboard_init(&f.b, &config, &host);
    for (; size >= 8; size -= 8, data += 8) step(&f, data, &now);
    return 0;
}
