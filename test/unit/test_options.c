/* The hypervisor's command line: every parameter, every mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/pci.h"
#include "core/config/options.h"

static struct boot_options o;
static char why[400];

/* The text ends where its allocation does. */
static int parse(const char *cmdline) {
    char *copy = strdup(cmdline);
    int rc = options_parse(copy, &o, why, sizeof(why));

    free(copy);
    return rc;
}

static void accept(const char *cmdline) {
    if (parse(cmdline)) fail_msg("%s: %s", cmdline, why);
}

static void refuse(const char *cmdline, const char *what) {
    assert_int_equal(-E_INVAL, parse(cmdline));
    if (!strstr(why, what) || !strchr(why, '|')) fail_msg("%s: no `%s` in: %s", cmdline, what, why);
}

static void test_nothing(void **state) {
    (void)state;
    accept("");
    assert_true(!o.console.given && !o.console.screen && o.console.uart == UART_PORT && o.console.at == 0x3f8);
    assert_int_equal(LOG_LEVEL_INFO, o.level);
    assert_string_equal("mullion.toml", o.config);
    assert_false(o.cores || o.inventory || o.no_iommu || o.no_large_pages || o.no_preemption_timer ||
                 o.no_tsc_deadline || o.no_x2apic);
    accept("   ");
}

static void test_flags(void **state) {
    static const struct {
        const char *word;
        size_t flag;
    } flags[] = {{"mullion.inventory", offsetof(struct boot_options, inventory)},
                 {"noiommu", offsetof(struct boot_options, no_iommu)},
                 {"no-large-pages", offsetof(struct boot_options, no_large_pages)},
                 {"no-preemption-timer", offsetof(struct boot_options, no_preemption_timer)},
                 {"no-tsc-deadline", offsetof(struct boot_options, no_tsc_deadline)},
                 {"no-x2apic", offsetof(struct boot_options, no_x2apic)}};
    const size_t count = sizeof(flags) / sizeof(flags[0]);
    char text[100];

    (void)state;
    for (size_t i = 0; i < count; i++) {
        accept(flags[i].word);
        for (size_t k = 0; k < count; k++) assert_int_equal(i == k, *(bool *)((char *)&o + flags[k].flag));
        strcpy(text, flags[i].word);
        strcat(text, "=1");
        refuse(text, "takes no value");
        *strchr(text, '=') = 'x';
        refuse(text, "the command line has no parameter");
    }
}

static void test_values(void **state) {
    static const char *const levels[] = {"quiet", "error", "warn", "info", "debug"};
    char text[200] = "config=";

    (void)state;
    for (u32 i = 0; i < 5; i++) {
        strcpy(text + 100, "loglevel=");
        strcat(text + 100, levels[i]);
        accept(text + 100);
        assert_int_equal(LOG_LEVEL_QUIET + i, o.level);
    }
    accept("loglevel=debug  cores=3 config=two.toml loglevel=error");
    assert_int_equal(LOG_LEVEL_ERROR, o.level);
    assert_int_equal(3, o.cores);
    assert_string_equal("two.toml", o.config);
    accept("mullion.inventory loglevel=quiet"); /* which the log shows */
    assert_int_equal(LOG_LEVEL_INFO, o.level);
    accept("cores=65536");
    memset(text + 7, 'x', OPTIONS_CONFIG_BYTES - 1);
    text[7 + OPTIONS_CONFIG_BYTES - 1] = 0;
    accept(text);
    assert_int_equal(OPTIONS_CONFIG_BYTES - 1, strlen(o.config));
    strcat(text, "x");
    refuse(text, "config= takes the name of a module");
}

static void assert_console(const char *text, bool screen, int uart, u32 at) {
    accept(text);
    assert_true(o.console.given);
    assert_int_equal(screen, o.console.screen);
    assert_int_equal(uart, o.console.uart);
    if (uart != UART_NONE) assert_int_equal(at, o.console.at);
}

static void test_console(void **state) {
    (void)state;
    assert_console("console=com1", false, UART_PORT, 0x3f8);
    assert_console("console=com2", false, UART_PORT, 0x2f8);
    assert_console("console=com3", false, UART_PORT, 0x3e8);
    assert_console("console=com4", false, UART_PORT, 0x2e8);
    assert_console("console=0x2F8", false, UART_PORT, 0x2f8);
    assert_console("console=0xfff8", false, UART_PORT, 0xfff8);
    assert_console("console=pci:00:04.0", false, UART_PCI, PCI_ID(0, 0, 4, 0));
    assert_console("console=pci:a0:1F.7", false, UART_PCI, PCI_ID(0, 0xa0, 0x1f, 7));
    assert_console("console=none", false, UART_NONE, 0);
    assert_console("console=framebuffer", true, UART_NONE, 0);
    assert_console("console=com2,framebuffer", true, UART_PORT, 0x2f8);
    assert_console("console=framebuffer console=com2", true, UART_PORT, 0x2f8);
    assert_console("console=pci:00:04.0,framebuffer,none", true, UART_PCI, PCI_ID(0, 0, 4, 0));
}

static void test_mistakes(void **state) {
    static const char *const consoles[] = {"",
                                           "com0",
                                           "com5",
                                           "com",
                                           "com11",
                                           "COM1",
                                           "0x",
                                           "0x0",
                                           "0xfff9",
                                           "0x10000",
                                           "0x3g8",
                                           "3f8",
                                           "pci:",
                                           "pci:00:04",
                                           "pci:00:20.0",
                                           "pci:00:04.8",
                                           "pci:100:04.0",
                                           "pci:00:04.0.",
                                           "com1,com2",
                                           "com1,",
                                           ",com1",
                                           "screen",
                                           "com1,0x2f8",
                                           "framebuffer,x",
                                           "pci:0:0.0,com1",
                                           "0x100000000"};
    static const char *const others[] = {"loglevel",    "loglevel=", "loglevel=Info", "loglevel=infos",
                                         "cores=0",     "cores=",    "cores=-1",      "cores=0x2",
                                         "cores=65537", "config=",   "cores=2x",      "cores=99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(consoles) / sizeof(consoles[0]); i++) {
        char text[60] = "console=";

        strcat(text, consoles[i]);
        refuse(text, "|console= takes com1 to com4");
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) refuse(others[i], "= takes ");
    refuse("consol=com1", "the command line has no parameter consol=com1|");
    refuse("consol=com1", "there are console=, loglevel=, config=, cores=, mullion.inventory, noiommu, ");
    refuse("no-x2apic\tnoiommu", "no parameter no-x2apic?noiommu|");
    refuse("=", "no parameter =|");
    /* The first mistake is told, and what is right counts: the refusal is seen on that console. */
    refuse("splash cores=x console=com2 quiet", "no parameter splash|");
    assert_int_equal(0x2f8, o.console.at);
}

static void test_noise(void **state) {
    static const char alphabet[] = " =,:.0x17comnsleprubfg\x80\x01";
    char text[64];

    (void)state;
    srand(1);
    for (u32 i = 0; i < 100000; i++) {
        u32 length = (u32)rand() % 40;

        strcpy(text, i & 1 ? "console=" : "");
        for (u32 k = (u32)strlen(text), end = k + length; k < end; text[++k] = 0)
            text[k] = alphabet[(u32)rand() % (sizeof(alphabet) - 1)];
        if (parse(text)) assert_non_null(strchr(why, '|'));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_flags),    cmocka_unit_test(test_values),
        cmocka_unit_test(test_console), cmocka_unit_test(test_mistakes), cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
