/* A running partition: its board, and its way from load to end. See partition.h. */
#include "core/partition.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/machine.h"

/* --- board --- */

static void poke_vcpu(void *ctx, u32 index) {
    struct partition *p = ctx;

    vcpu_poke(p->vcpus[index], REQUEST_EVENT);
}

void partition_send(struct vcpu *v, const struct apic_msg *msg) {
    struct partition *p = v->partition;

    apicbus_send(p->lapics, p->vcpu_count, v->index, msg, poke_vcpu, p);
}

bool partition_message(void *ctx, const struct apic_msg *msg) {
    struct partition *p = ctx;

    return apicbus_send(p->lapics, p->vcpu_count, ~0u, msg, poke_vcpu, p);
}

static void board_intr(void *ctx, bool level) {
    struct partition *p = ctx;

    __atomic_store_n(&p->vcpus[0]->intr_line, level, __ATOMIC_RELEASE);
    if (vlapic_set_lint0(p->lapics[0], level) || level) vcpu_poke(p->vcpus[0], REQUEST_EVENT);
}

static void board_power(void *ctx, enum power_request request) {
    if (request != POWER_NONE) partition_end(ctx, request == POWER_OFF ? END_POWER_OFF : END_RESET);
}

static void board_eoi(void *ctx, u32 pin) { passthrough_line_ended(ctx, pin); }

/* After any access: if the board's next deadline moved, vCPU 0, which keeps it, has to know. */
GIVES_BACK static void board_unlock(struct vcpu *v) {
    struct partition *p = v->partition;
    u64 deadline = vboard_deadline(&p->board);

    if (deadline != p->board_deadline) {
        __atomic_store_n(&p->board_deadline, deadline, __ATOMIC_RELAXED);
        if (v->index == 0)
            v->timers_moved = true;
        else
            vcpu_poke(p->vcpus[0], REQUEST_BOARD);
    }
    spin_unlock(&p->board_lock);
}

u32 partition_port_in(struct vcpu *v, u16 port, u32 size) {
    struct partition *p = v->partition;
    u32 value;

    spin_lock(&p->board_lock);
    if (!p->pci || !passthrough_port_in(p, port, size, &value))
        value = vboard_in(&p->board, port, size, vcpu_guest_ns(v));
    board_unlock(v);
    return value;
}

void partition_port_out(struct vcpu *v, u16 port, u32 size, u32 value) {
    struct partition *p = v->partition;
    u32 before = p->console_tx.head;

    if (port == p->config->debug_exit) {
        p->exit_value = value;
        partition_end(p, END_POWER_OFF);
        return;
    }
    spin_lock(&p->board_lock);
    if (!p->pci || !passthrough_port_out(p, port, size, value))
        vboard_out(&p->board, port, size, value, vcpu_guest_ns(v));
    board_unlock(v);
    if (p->console_tx.head != before) v->console_left = true;
}

u32 partition_ioapic_read(struct vcpu *v, u32 offset, u32 size) {
    struct partition *p = v->partition;
    u32 value;

    spin_lock(&p->board_lock);
    value = vboard_ioapic_read(&p->board, offset, size, vcpu_guest_ns(v));
    board_unlock(v);
    return value;
}

void partition_ioapic_write(struct vcpu *v, u32 offset, u32 size, u32 value) {
    struct partition *p = v->partition;

    spin_lock(&p->board_lock);
    vboard_ioapic_write(&p->board, offset, size, value, vcpu_guest_ns(v));
    board_unlock(v);
}

bool partition_hpet(struct vcpu *v, u64 at, u32 size, bool write, u64 *value) {
    struct partition *p = v->partition;

    if (at - GUEST_HPET_BASE >= VHPET_BYTES || !p->config->hpet || at % 8 + size > 8) return false;
    spin_lock(&p->board_lock);
    vboard_hpet(&p->board, (u32)(at - GUEST_HPET_BASE), size, write, value, vcpu_guest_ns(v));
    board_unlock(v);
    return true;
}

u32 partition_memory_read(struct vcpu *v, u64 at, u32 size) {
    struct partition *p = v->partition;
    u32 value = ~0u;

    if (!p->pci) return value;
    spin_lock(&p->board_lock);
    if (at - GUEST_ECAM_BASE < GUEST_ECAM_BYTES)
        value = vpci_ecam_read(&p->board.pci, (u32)(at - GUEST_ECAM_BASE), size);
    else
        (void)!passthrough_read(p, at, size, &value);
    board_unlock(v);
    return value;
}

void partition_memory_write(struct vcpu *v, u64 at, u32 size, u32 value) {
    struct partition *p = v->partition;

    if (!p->pci) return;
    spin_lock(&p->board_lock);
    if (at - GUEST_ECAM_BASE < GUEST_ECAM_BYTES)
        vpci_ecam_write(&p->board.pci, (u32)(at - GUEST_ECAM_BASE), size, value);
    else
        (void)!passthrough_write(p, at, size, value);
    board_unlock(v);
}

void partition_eoi(struct vcpu *v, u8 vector) {
    struct partition *p = v->partition;

    spin_lock(&p->board_lock);
    vboard_eoi(&p->board, vector, vcpu_guest_ns(v));
    board_unlock(v);
}

u8 partition_pic_ack(struct vcpu *v) {
    struct partition *p = v->partition;
    u8 vector;

    spin_lock(&p->board_lock);
    vector = vboard_pic_ack(&p->board, vcpu_guest_ns(v));
    board_unlock(v);
    return vector;
}

void partition_board_tick(struct vcpu *v) {
    struct partition *p = v->partition;

    spin_lock(&p->board_lock);
    vboard_tick(&p->board, vcpu_guest_ns(v));
    board_unlock(v);
}

/* Keystrokes came: on the core of vCPU 0. */
static void input_received(struct console_input *input) {
    struct partition *p = input->ctx;

    vcpu_poke(p->vcpus[0], REQUEST_BOARD);
}

/* --- load --- */

/* The first id behind the local APICs', as far as four bits go; local and I/O APIC ids need not differ. */
static u32 ioapic_id(const struct partition *p) { return p->vcpu_count & 0xf; }

static void make_board(struct partition *p) {
    const bool firmware = p->config->format == IMAGE_FIRMWARE;
    const struct vboard_config config = {
        .memory = p->config->memory,
        .wall_clock = p->wall_clock,
        .ioapic_id = ioapic_id(p),
        .com1_tx = &p->console_tx,
        .com1_rx = &p->console_rx,
        .pci = p->pci ? p->pci->guest : NULL,
        .pci_count = p->pci ? p->pci->count : 0,
        .pci_host = p->pci ? &p->pci->host : NULL,
        .control = p->config->control_at.line ? &p->control_device : NULL,
        .fwcfg = {.files = p->acpi_files,
                  .file_count = p->acpi_files->data ? GUEST_ACPI_FILES : 0,
                  .disks = p->images + 1,
                  .disk_count = p->image_count - 1,
                  .cpus = (u16)p->vcpu_count,
                  .present = firmware},
        .at_reset = firmware,
    };

    p->board_host = (struct vdev_host){p, partition_message, board_intr, board_power, board_eoi};
    p->input->received = input_received;
    if (config.control) control_reset(p);
    p->vcpus[0]->intr_line = false;
    spin_init(&p->board_lock);
    vboard_init(&p->board, &config, &p->board_host);
    p->board_deadline = vboard_deadline(&p->board);
}

/* The tables lie at the end of the first MiB. Where a firmware image will be, they are made in the bytes below it,
 * which the hole of VGA leaves without an address, and the firmware fetches them from there. */
static int make_acpi(struct partition *p, gpa_t *rsdp) {
    const struct guest_pci window = {p->pci ? p->pci->window64.base : 0, p->pci ? p->pci->window64.bytes : 0};
    const u64 bytes = GUEST_HIGHMEM_BASE - GUEST_BIOS_BASE;
    struct gmem mem = p->memory;
    struct region hidden = {.bytes = 0};
    int code;

    for (u32 i = 0; i < p->memory.count && p->config->format == IMAGE_FIRMWARE; i++)
        if (p->regions[i].gpa.v == GUEST_ROM_SHADOW)
            hidden = (struct region){gpa(GUEST_BIOS_BASE), hpa(p->regions[i].hpa.v - bytes), bytes, RIGHTS_RWX, MEM_WB,
                                     REGION_RESERVED};
    if (hidden.bytes) mem = (struct gmem){&hidden, 1, p->memory.hva_offset, p->memory.ecam};
    code = guest_acpi_build(&mem, p->apic_ids, p->vcpu_count, ioapic_id(p), p->pci ? &window : NULL, p->config->hpet,
                            rsdp);
    if (code || !hidden.bytes) return code;
    return guest_acpi_files((u8 *)(hidden.hpa.v + mem.hva_offset), bytes, p->acpi_files);
}

int partition_load(struct partition *p, struct image_error *error) {
    struct image_error image;
    int code;
    struct image_request request = {
        .format = p->config->format,
        .name = p->images->name,
        .kernel = p->images->data,
        .kernel_bytes = p->images->bytes,
        .modules = p->images + 1,
        .module_count = p->image_count - 1,
        .cmdline = p->config->cmdline ? p->config->cmdline : "",
        .mode = p->config->mode,
        .load_address = p->config->load_address,
        .entry = p->config->entry,
    };

    /* Nothing of an earlier owner, or of the partition's own last run, is left. */
    for (u32 i = 0; i < p->memory.count; i++)
        if ((p->regions[i].rights & RIGHT_WRITE) && gmem_zero(&p->memory, p->regions[i].gpa, p->regions[i].bytes))
            panic("%s: region %u cannot be cleared", p->config->name, i);
    if (make_acpi(p, &request.rsdp)) {
        fmt(error->what, sizeof(error->what), "the acpi tables do not fit");
        return -E_RANGE;
    }
    code = passthrough_start(p, error->what, sizeof(error->what));
    if (code) return code;
    for (u32 i = 0; i < p->vcpu_count; i++) vlapic_reset(p->lapics[i], p->apic_ids[i], i == 0);
    if (p->config->format != IMAGE_FIRMWARE) vlapic_virtual_wire(p->lapics[0]);
    make_board(p);
    p->exit_value = NEVER;
    code = image_load(&p->memory, &request, &p->start, &image);
    if (code) {
        fmt(error->what, sizeof(error->what), "module %s: %s", p->config->kernel, image.what);
        (void)!passthrough_stop(p);
    }
    return code;
}

/* --- end and restart --- */

void partition_end(struct partition *p, enum partition_end why) {
    u32 none = END_NONE;

    if (!__atomic_compare_exchange_n(&p->ending, &none, why, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return;
    for (u32 i = 0; i < p->vcpu_count; i++) vcpu_poke(p->vcpus[i], REQUEST_STOP);
}

const char *partition_end_name(enum partition_end why) {
    static const char *const names[] = {"never", "powered off", "reset", "crashed", "stopped", "restarted"};

    return names[why];
}

static bool is_row(const struct partition *p) { return vcpu_guest_ns(p->vcpus[0]) < 60 * 1000000000ull; }

u32 partition_crashes(const struct partition *p) { return is_row(p) ? p->crashes : 0; }

/* Is this end one of the first of its kind in a row? */
static bool is_explained(struct partition *p, enum partition_end why) {
    if (!is_row(p)) p->crashes = p->resets = 0;
    p->crashes += why == END_CRASH;
    p->resets += why == END_RESET;
    return (why == END_CRASH ? p->crashes : why == END_RESET ? p->resets : 0) <= ENDS_EXPLAINED;
}

static bool wants_restart(const struct partition *p, enum partition_end why) {
    u32 wanted = why == END_CRASH ? RESTART_CRASH : why == END_RESET ? RESTART_RESET : 0;

    return (p->config->restart_on & wanted) &&
           (p->config->restart_limit == 0 || p->restarts < p->config->restart_limit);
}

/* The exit counters of one vCPU, a few to a line. */
static void report_exits(const struct vcpu *v) {
    const char *name = v->partition->config->name;
    char text[160];
    size_t at = 0;
    u64 total = 0;

    for (u32 i = 0; i < EXIT_REASONS; i++) {
        total += v->exits[i];
        if (!v->exits[i]) continue;
        at += fmt(text + at, sizeof(text) - at, " %s %llu", exit_reason_name(i), (unsigned long long)v->exits[i]);
        if (at > 100) {
            log_line("%s: vcpu %u exits:%s", name, v->index, text);
            at = 0;
        }
    }
    if (at) log_line("%s: vcpu %u exits:%s", name, v->index, text);
    log_line("%s: vcpu %u exits in all: %llu", name, v->index, (unsigned long long)total);
}

/* Guest time begins anew; the wall clock goes on. */
static void start_time(struct partition *p) {
    u64 now = rdtsc();

    p->wall_clock += tsc_to_ns(now - p->tsc_start) / 1000000000;
    p->tsc_start = now;
}

/* Loads it once more. */
static int reload(struct partition *p) {
    struct image_error error;
    int code;

    start_time(p);
    code = partition_load(p, &error);
    if (code) log_line(LOG_ERROR "%s: not started again: %s", p->config->name, error.what);
    __atomic_fetch_add(&p->control->restarts, 1, __ATOMIC_RELAXED);
    for (u32 i = 0; i < p->vcpu_count; i++) __atomic_store_n(&p->vcpus[i]->requests, 0, __ATOMIC_RELAXED);
    p->stopped = 0;
    if (!code) __atomic_store_n(&p->ending, END_NONE, __ATOMIC_RELEASE);
    return code;
}

/* How a start that failed leaves it: memory that a device may still write to is nobody's any more. */
static enum control_state failed(const struct partition *p) {
    return p->pci && p->pci->stuck ? CONTROL_BROKEN : CONTROL_FAILED;
}

static bool restart(struct partition *p, bool ordered) {
    p->restarts = ordered ? 0 : p->restarts + 1;
    if (ordered) p->crashes = p->resets = 0;
    if (!ordered && p->config->restart_limit)
        log_line("%s: restart %u of %u", p->config->name, p->restarts, p->config->restart_limit);
    else if (!ordered)
        log_line("%s: restart %u", p->config->name, p->restarts);
    if (reload(p)) return false;
    control_running(p, ordered);
    return true;
}

/* The last vCPU to arrive does what is to be done once. An order that comes after this look at it is kept. */
static void finish(struct partition *p, enum partition_end why) {
    u32 word = __atomic_load_n(&p->control->word, __ATOMIC_ACQUIRE), order = CONTROL_ORDER(word);
    enum control_state state = why == END_CRASH ? CONTROL_CRASHED : why == END_STOP ? CONTROL_STOPPED : CONTROL_OFF;
    bool ordered = why == END_STOP || why == END_RESTART;
    bool again = order ? order == ORDER_RESTART : wants_restart(p, why);
    bool explained = is_explained(p, why) && !ordered;

    console_flush(&p->console);
    if (!again) console_input_gone(p->input, true); /* who reads that it has ended types to another */
    __atomic_store_n(&p->control->ended, why, __ATOMIC_RELAXED);
    if (p->exit_value != NEVER) log_line("%s: debug exit with 0x%lx", p->config->name, p->exit_value);
    /* An ordered end is one line: another partition may go on with that for ever. */
    log_line(ordered            ? "%s: %s by %s"
             : why == END_CRASH ? LOG_ERROR "%s: %s"
                                : "%s: %s",
             p->config->name, partition_end_name(why), control_who(word));
    for (u32 i = 0; i < p->vcpu_count && explained; i++) report_exits(p->vcpus[i]);
    if (passthrough_stop(p))
        state = CONTROL_BROKEN;
    else if (again && restart(p, order))
        state = CONTROL_RUNNING;
    else if (again)
        state = failed(p);
    if (state != CONTROL_RUNNING) {
        p->over = true;
        p->controlled = p->controlled && state != CONTROL_BROKEN;
        console_input_gone(p->input, true);
        control_ended(p, state, order);
    }
    __atomic_fetch_add(&p->generation, 1, __ATOMIC_RELEASE);
}

void partition_start(struct partition *p, const char *who) {
    log_line("%s: started by %s", p->config->name, who);
    p->restarts = p->crashes = p->resets = 0;
    if (reload(p)) {
        control_ended(p, failed(p), true);
        return;
    }
    console_input_gone(p->input, false);
    __atomic_store_n(&p->over, false, __ATOMIC_RELEASE);
    control_running(p, true);
    for (u32 i = 0; i < p->vcpu_count; i++) vcpu_poke(p->vcpus[i], REQUEST_START);
}

void partition_stopped(struct vcpu *v) {
    struct partition *p = v->partition;
    enum partition_end why = __atomic_load_n(&p->ending, __ATOMIC_ACQUIRE);
    u32 generation = __atomic_load_n(&p->generation, __ATOMIC_ACQUIRE);

    if (why == END_NONE) /* a request from before the restart */
        return;
    if (__atomic_add_fetch(&p->stopped, 1, __ATOMIC_ACQ_REL) == p->vcpu_count) finish(p, why);
    while (__atomic_load_n(&p->generation, __ATOMIC_ACQUIRE) == generation) cpu_pause();
    /* Not `ending`: a vCPU that was quicker may run already, and end the partition anew. */
    if (!__atomic_load_n(&p->over, __ATOMIC_ACQUIRE))
        vcpu_start(v);
    else if (p->controlled)
        vcpu_park(v);
    else
        machine_core_idle();
}
