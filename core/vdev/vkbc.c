/* Keyboard controller. See vkbc.h. Owns struct vkbc; called by the board only. */
#include "core/vdev/vkbc.h"

/* PS/2, Keyboard and Auxiliary Device Controller, Status Register. */
#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_SYSTEM      0x04u /* the command byte's bit: the self test has passed */
#define STATUS_COMMAND     0x08u
#define STATUS_UNLOCKED    0x10u
#define STATUS_AUXILIARY   0x20u /* what waits comes from the mouse's side */
#define STATUS_TIME_OUT    0x40u /* a device did not answer */

/* Output port: bit 0 low holds the processor in reset, bit 1 is A20. */
#define OUTPUT_NO_RESET 0x01u
#define OUTPUT_A20      0x02u
#define OUTPUT_FREE     0xccu /* data and clock lines idle */

/* Command byte: both devices disabled, system flag. */
#define CONTROL_INITIAL      0x34u
#define CONTROL_NO_KEYBOARD  0x10u
#define CONTROL_NO_AUXILIARY 0x20u

#define RESEND 0xfe /* left in the output buffer when nobody has answered */

#define PORT92_RESET 0x01u
#define PORT92_A20   0x02u

static void answer_from(struct vkbc *k, u8 value, u8 status) {
    k->data = value;
    k->full = STATUS_OUTPUT_FULL | status;
}
static void answer(struct vkbc *k, u8 value) { answer_from(k, value, 0); }

static void set_output(struct vkbc *k, u8 value, const struct vdev_host *host) {
    k->output = value;
    if (!(value & OUTPUT_NO_RESET)) host->power(host->ctx, POWER_RESET);
}

static void write_command(struct vkbc *k, u8 value, const struct vdev_host *host) {
    k->command = 0;
    switch (value) {
    case 0x20: /* read command byte */ answer(k, k->control); break;
    case 0xaa: /* self test: passed */
        k->control = CONTROL_INITIAL;
        answer(k, 0x55);
        break;
    case 0xa7: k->control |= CONTROL_NO_AUXILIARY; break;
    case 0xa8: k->control &= (u8)~CONTROL_NO_AUXILIARY; break;
    case 0xa9: /* interface tests: no line is stuck */
    case 0xab: answer(k, 0x00); break;
    case 0xad: k->control |= CONTROL_NO_KEYBOARD; break;
    case 0xae: k->control &= (u8)~CONTROL_NO_KEYBOARD; break;
    case 0xc0: /* input port: not locked */ answer(k, 0x80); break;
    case 0xd0: /* read output port */ answer(k, k->output); break;
    case 0x60: /* these take a byte at 0x60 */
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4: k->command = value; break;
    case 0xdd: /* A20 off and on */
    case 0xdf: k->output = (u8)((k->output & ~OUTPUT_A20) | (value & OUTPUT_A20)); break;
    default:
        /* 0xf0 to 0xff pulse the output lines whose bit is 0; line 0 is the reset. */
        if (value >= 0xf0 && !(value & 1)) host->power(host->ctx, POWER_RESET);
        break;
    }
}

static void write_data(struct vkbc *k, u8 value, const struct vdev_host *host) {
    u8 command = k->command;

    k->command = 0;
    switch (command) {
    case 0x60: k->control = value; break;
    case 0xd1: set_output(k, value, host); break;
    case 0xd2: /* write to the output buffer, as if a device had sent it */ answer(k, value); break;
    case 0xd3: answer_from(k, value, STATUS_AUXILIARY); break;
    case 0xd4: answer_from(k, RESEND, STATUS_TIME_OUT | STATUS_AUXILIARY); break;
    default: /* for the keyboard */ answer_from(k, RESEND, STATUS_TIME_OUT); break;
    }
}

u8 vkbc_read(struct vkbc *k, u16 port) {
    switch (port) {
    case VKBC_PORT92: return k->port92;
    case VKBC_DATA_PORT: k->full = 0; return k->data;
    default:
        return (u8)(STATUS_UNLOCKED | (k->control & STATUS_SYSTEM) | (k->last_command ? STATUS_COMMAND : 0) | k->full);
    }
}

void vkbc_write(struct vkbc *k, u16 port, u8 value, const struct vdev_host *host) {
    if (port == VKBC_PORT92) {
        bool rises = (value & PORT92_RESET) && !(k->port92 & PORT92_RESET);
        k->port92 = value & (PORT92_RESET | PORT92_A20);
        if (rises) host->power(host->ctx, POWER_RESET);
        return;
    }
    k->last_command = port == VKBC_COMMAND_PORT;
    if (k->last_command)
        write_command(k, value, host);
    else
        write_data(k, value, host);
}

void vkbc_reset(struct vkbc *k) {
    *k = (struct vkbc){
        .control = CONTROL_INITIAL,
        .output = OUTPUT_FREE | OUTPUT_A20 | OUTPUT_NO_RESET,
        .last_command = true,
        .port92 = PORT92_A20,
    };
}
