/* A partition at run time. It lies in one block of host memory with its vCPUs and vendor pages, mapped on its own cores
 * only. */
#pragma once

#include "core/acpi/guest_acpi.h"
#include "core/base/spinlock.h"
#include "core/base/vendor.h"
#include "core/config/config.h"
#include "core/console.h"
#include "core/control.h"
#include "core/image/image.h"
#include "core/passthrough.h"
#include "core/insn/walk_code.h"
#include "core/vcpu.h"
#include "core/vdev/board.h"
#include "mm/pagetable.h"
#include "mm/region.h"

#define CONSOLE_RING_BYTES 4096
#define ENDS_EXPLAINED     8 /* crashes, or resets, in a row; of those behind them only the reason is told */

/* STOP and RESTART: another partition has ordered it. */
enum partition_end { END_NONE, END_POWER_OFF, END_RESET, END_CRASH, END_STOP, END_RESTART };

struct partition {
    const struct config_partition *config;
    struct vendor_partition hw;
    struct gmem memory;
    struct code_window code; /* the last region: usually the largest */
    struct region *regions;
    struct vcpu **vcpus;
    struct vlapic **lapics; /* of the vCPUs, for apicbus_send */
    u32 *apic_ids;
    u32 vcpu_count;
    u64 tsc_start; /* host TSC at which guest time began */

    struct spinlock board_lock; /* board */
    struct vboard board;
    struct vdev_host board_host;
    u64 board_deadline; /* guest ns; written under the lock, read by vCPU 0 */

    struct ring console_tx, console_rx;
    struct console_source console;
    struct console_input *input;

    u32 ending;          /* atomic enum partition_end: the first reason wins */
    u32 stopped;         /* atomic: vCPUs that wait at the end */
    u32 generation;      /* atomic: grows when the end is done, by a restart or for good */
    bool over;           /* atomic: for good, or until another partition starts it; written before generation grows */
    bool controlled;     /* another partition may start it again */
    u32 restarts;        /* that count towards the limit */
    u32 crashes, resets; /* in a row, at its last end */
    struct control *control;        /* what controllers see */
    struct vcontrol control_device; /* with the key `control` */
    struct vcontrol_host control_host;
    u64 exit_value; /* written to the debug-exit port, or NEVER */
    u64 wall_clock; /* seconds since 1970 at tsc_start */

    struct passthrough *pci; /* NULL: no functions */

    struct image_module *images; /* pristine copies in GRUB's modules, read-only: the kernel, then what goes with it */
    u32 image_count;
    struct image_module acpi_files[GUEST_ACPI_FILES]; /* what a firmware image is given */
    struct start_state start;
    struct piece *pieces;
    u32 piece_count;
    hpa_t block; /* the block itself */
    u64 block_bytes;
    u32 stage2_pages;
    u64 leaves[4];
};

/* Fills guest memory, devices and the start state: at boot and at each restart. One core of the partition, the others
 * waiting. Returns 0 or a negative error with its reason in *error. */
int partition_load(struct partition *p, struct image_error *error) must_check;
/* Asks the partition to end; the first reason is kept. Any of its cores. */
void partition_end(struct partition *p, enum partition_end why);
/* Crashes in a row before one that would be now: a run of a minute, or an ordered start, begins a new row. */
u32 partition_crashes(const struct partition *p);
/* As the log tells it. */
const char *partition_end_name(enum partition_end why);
/* An ended partition runs again, by the order of `who`: on the core of vCPU 0, while all its vCPUs are parked. */
void partition_start(struct partition *p, const char *who);
/* A vCPU with REQUEST_STOP comes here. Returns when the partition was restarted, or with the vCPU parked; if the
 * partition ended for good, it does not return. */
void partition_stopped(struct vcpu *v);

/* Board access under the lock, with guest time; v's core. */
u32 partition_port_in(struct vcpu *v, u16 port, u32 size);
void partition_port_out(struct vcpu *v, u16 port, u32 size, u32 value);
u32 partition_ioapic_read(struct vcpu *v, u32 offset, u32 size);
void partition_ioapic_write(struct vcpu *v, u32 offset, u32 size, u32 value);
/* Registers of the HPET, whole: its 64 bits are one access. False if `at` is none of them. */
bool partition_hpet(struct vcpu *v, u64 at, u32 size, bool write, u64 *value);
void partition_eoi(struct vcpu *v, u8 vector);
/* A message from a device or the I/O APIC; ctx: the partition. Any of its cores. False: no local APIC has accepted it.
 */
bool partition_message(void *ctx, const struct apic_msg *msg);
/* Device memory outside the local and the I/O APIC: size 1, 2 or 4. Nobody there: ones, and writes are dropped. */
u32 partition_memory_read(struct vcpu *v, u64 at, u32 size);
void partition_memory_write(struct vcpu *v, u64 at, u32 size, u32 value);
/* INTA cycle; vCPU 0's core. */
u8 partition_pic_ack(struct vcpu *v);
/* Lets the board's timers and console rings act; vCPU 0's core. */
void partition_board_tick(struct vcpu *v);
void partition_send(struct vcpu *v, const struct apic_msg *msg);
