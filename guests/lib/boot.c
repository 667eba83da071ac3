/* From the entry code to guest_main: reads the command line and the RSDP from whatever started the
 * program, and initialises the library in the order of its dependencies. */
#include "core/base/string.h"
#include "guests/lib/guest.h"

enum boot_kind { BOOT_NATIVE, BOOT_PVH, BOOT_MB2 }; /* as in start.S */

/* Xen, public/arch-x86/hvm/start_info.h, version 1. */
struct pvh_start_info {
    u32 magic, version, flags, module_count;
    u64 modules, cmdline, rsdp;
};
_Static_assert(offsetof(struct pvh_start_info, rsdp) == 32, "PVH start information");

/* Multiboot2 Specification, Boot information format. */
struct mb2_tag {
    u32 type, bytes;
    char data[];
};
#define MB2_END      0
#define MB2_CMDLINE  1
#define MB2_RSDP_OLD 14
#define MB2_RSDP_NEW 15

void guest_start(u64 kind, u64 a, u64 b);

static void from_mb2(u64 info, const char **cmdline, u64 *rsdp) {
    const struct mb2_tag *tag = (const struct mb2_tag *)(info + 8);

    while (tag->type != MB2_END) {
        if (tag->type == MB2_CMDLINE) *cmdline = tag->data;
        if (tag->type == MB2_RSDP_NEW || (tag->type == MB2_RSDP_OLD && !*rsdp)) *rsdp = (u64)tag->data;
        tag = (const struct mb2_tag *)((u64)tag + align_up(tag->bytes, 8));
    }
}

/* Called once by start.S. a, b: command line and RSDP, or the boot information. */
void guest_start(u64 kind, u64 a, u64 b) {
    const struct pvh_start_info *pvh = (const void *)a;
    const char *cmdline = (const char *)a;
    u64 rsdp = b;

    if (kind == BOOT_PVH) {
        cmdline = (const char *)pvh->cmdline;
        rsdp = pvh->version >= 1 ? pvh->rsdp : 0;
    } else if (kind == BOOT_MB2) {
        cmdline = NULL;
        from_mb2(a, &cmdline, &rsdp);
    }
    options_init(cmdline);
    console_init();
    interrupts_init();
    interrupts_cpu_init(0);
    acpi_init(rsdp);
    pic_init();
    lapic_cpu_init();
    if (!acpi.found) acpi.apic_ids[0] = lapic_id();
    timer_init();
    guest_main();
    power_off();
}
