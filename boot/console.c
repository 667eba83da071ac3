/* The console as the command line wants it. What lies above 4 GiB is not mapped at first, and opened later. */
#include "boot/boot.h"
#include "boot/multiboot2.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "drivers/pci.h"
#include "drivers/pci_scan.h"
#include "drivers/screen.h"
#include "drivers/uart.h"

#define COM1       0x3f8
#define UART_BYTES 8

static bool uart_missing __attribute__((section(".late")));
static struct mb2_screen screen __attribute__((section(".late")));

static bool is_high(const struct boot_window *w) { return w->at + w->bytes > GIB(4); }

static void open_uart(const struct boot_window *w) { uart_missing = !uart_init(0, (void *)(w->at + DIRECT_BASE)); }

/* The UART behind the first BAR of a function. */
static void find_pci_uart(struct boot_info *info, u32 id) {
    struct pci_bar bar;

    pci_setup(info->acpi, false);
    uart_missing = !pci_first_bar(&pci_machine, id, &bar);
    if (uart_missing) return;
    if (bar.io) {
        uart_missing = !uart_init((u16)bar.base, NULL);
        return;
    }
    info->console[CONSOLE_UART] = (struct boot_window){bar.base, UART_BYTES};
    if (!is_high(&info->console[CONSOLE_UART])) open_uart(&info->console[CONSOLE_UART]);
}

/* A console that is not there would be silence: COM1 instead. */
static void replace_uart(struct boot_info *info) {
    const struct console_choice *c = &info->options.console;
    char name[20];

    uart_missing = false;
    info->console[CONSOLE_UART] = (struct boot_window){0};
    (void)uart_init(COM1, NULL);
    fmt(name, sizeof(name), c->uart == UART_PORT ? "port 0x%x" : "pci:%02x:%02x.%x",
        c->uart == UART_PORT ? c->at : PCI_BUS(c->at), PCI_DEVICE(c->at), PCI_FUNCTION(c->at));
    log_line(LOG_WARN "boot: no UART answers at %s, COM1 is the console", name);
}

static void open_screen(const struct boot_window *w) {
    const struct screen_mode mode = {.memory = (void *)(w->at + DIRECT_BASE),
                                     .width = screen.width,
                                     .height = screen.height,
                                     .pitch = screen.pitch,
                                     .text = screen.text,
                                     .ink = screen.ink};

    screen_open(&mode);
}

static void find_screen(struct boot_info *info, const void *mbi) {
    const struct mb2_tag *tag = mbi ? mb2_find(mbi, MB2_TAG_FRAMEBUFFER, NULL) : NULL;
    const int error = tag ? mb2_framebuffer(tag, &screen) : -E_NOENT;
    struct boot_window *w = &info->console[CONSOLE_SCREEN];

    if (error && info->options.console.screen)
        log_line(LOG_WARN "boot: no console on the screen: the boot loader's framebuffer is %s",
                 error == -E_UNSUPPORTED ? "not of 32 bits" : error_name(error));
    if (error) return;
    *w = (struct boot_window){screen.at.v, screen.bytes};
    if (!is_high(w)) open_screen(w);
}

void console_open(struct boot_info *info, const void *mbi) {
    const struct console_choice *c = &info->options.console;

    if (c->uart == UART_PCI)
        find_pci_uart(info, c->at);
    else
        uart_missing = !uart_init(c->uart == UART_PORT ? (u16)c->at : 0, NULL) && c->uart == UART_PORT && c->at != COM1;
    if (uart_missing) replace_uart(info);
    if (c->screen || !c->given) find_screen(info, mbi);
}

void console_open_high(struct boot_info *info, bool (*reach)(u64 at, u64 bytes)) {
    const struct boot_window *uart = &info->console[CONSOLE_UART];
    struct boot_window *w = &info->console[CONSOLE_SCREEN];

    if (uart->bytes && is_high(uart)) {
        uart_missing = !reach(uart->at, uart->bytes);
        if (!uart_missing) open_uart(uart);
    }
    if (uart_missing) replace_uart(info);
    if (!w->bytes || !is_high(w)) return;
    if (reach(w->at, w->bytes))
        open_screen(w);
    else
        *w = (struct boot_window){0};
}
