/* Linked into the coverage build of the hypervisor only: sends gcc's counters out, as text, where the machine stops
 * (end of the last partition, refuse, panic) and when Ctrl-\ is typed. --wrap puts these functions in front of the real
 * ones. To debug port 0x403 if there is one (QEMU), else to 0xe9 (Bochs). tools: test/coverage/collect.py reads it. */
#include <gcov.h>

#include "core/base/cpu.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "drivers/descriptors.h"
#include "drivers/lapic.h"

#define KEY      0x1c /* Ctrl-\ */
#define OWN_PORT 0x403
#define BOCHS    0xe9

extern const struct gcov_info *const __start_gcov_info[], *const __stop_gcov_info[];

static bool streaming; /* other cores wait meanwhile */
static bool others;    /* ... if they can take an NMI */
static u16 port;
static u32 column;

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, long offset);
void abort(void) noreturn_fn;
void __gcov_merge_add(long long *counters, unsigned n);

bool __real_uart_get(u8 *byte);
void __real_uart_flush(void);
void __real_panic_stops_others(void);
void __real_trap(struct trap_frame *frame);
bool __wrap_uart_get(u8 *byte);
void __wrap_uart_flush(void);
void __wrap_panic_stops_others(void);
void __wrap_trap(struct trap_frame *frame);

/* What libgcov asks for, for kinds of counters that are not in use. */
void *mmap(void *at, size_t bytes, int protection, int flags, int fd, long offset) {
    (void)at, (void)bytes, (void)protection, (void)flags, (void)fd, (void)offset;
    return NULL;
}
void abort(void) { cpu_halt_forever(); }
void __gcov_merge_add(long long *counters, unsigned n) { (void)counters, (void)n; }

static void put(char c) { outb(port, (u8)c); }
static void put_text(const char *text) {
    for (; *text; text++) put(*text);
}

static void on_name(const char *name, void *ctx) {
    (void)ctx;
    put_text("\ngcov F ");
    put_text(name);
    column = 0;
}

static void on_data(const void *data, unsigned bytes, void *ctx) {
    const u8 *at = data;

    (void)ctx;
    for (; bytes; bytes--, at++, column++) {
        if (column % 64 == 0) put_text("\ngcov D ");
        put("0123456789abcdef"[*at >> 4]);
        put("0123456789abcdef"[*at & 15]);
    }
}

static void *on_memory(unsigned bytes, void *ctx) {
    (void)bytes, (void)ctx;
    return NULL;
}

static void stream(void) {
    u64 cr0 = read_cr0();

    if (__atomic_exchange_n(&streaming, true, __ATOMIC_ACQ_REL)) return;
    port = inb(OWN_PORT) == 0xe9 ? OWN_PORT : BOCHS;
    if (others) {
        lapic_nmi_others();
        for (u32 i = 0; i < 1000000; i++) cpu_pause();
    }
    write_cr4(read_cr4() | CR4_OSFXSR); /* libgcov is a program like others */
    write_cr0(cr0 & ~(CR0_EM | CR0_TS));
    for (const struct gcov_info *const *info = __start_gcov_info; info < __stop_gcov_info; info++)
        __gcov_info_to_gcda(*info, on_name, on_data, on_memory, NULL);
    put_text("\ngcov E\n");
    write_cr0(cr0);
    __atomic_store_n(&streaming, false, __ATOMIC_RELEASE);
}

bool __wrap_uart_get(u8 *byte) {
    bool got = __real_uart_get(byte);

    if (got && *byte == KEY) stream();
    return got;
}

void __wrap_uart_flush(void) {
    __real_uart_flush();
    stream();
}

void __wrap_panic_stops_others(void) {
    others = true;
    __real_panic_stops_others();
}

void __wrap_trap(struct trap_frame *frame) {
    if (frame->vector == VEC_NMI && __atomic_load_n(&streaming, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(&streaming, __ATOMIC_ACQUIRE)) cpu_pause();
        if (!panic_in_progress()) return;
    }
    __real_trap(frame);
}
