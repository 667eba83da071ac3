/* The command line's words, each a line of one table. docs/boot-parameters.md explains them. */
#include "core/config/options.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/fmt.h"
#include "core/base/pci.h"
#include "core/base/string.h"
#include "core/config/schema.h"
#include "core/config/toml_scan.h"

/* A part of the command line. */
struct word {
    const char *text;
    size_t length;
};

static bool is_word(struct word w, const char *text) {
    return w.length == strlen(text) && memcmp(w.text, text, w.length) == 0;
}

/* The part up to a separator, which is taken away too. */
static struct word split(struct word *rest, char separator) {
    struct word first = {rest->text, 0};

    while (first.length < rest->length && first.text[first.length] != separator) first.length++;
    rest->text += min_u64(first.length + 1, rest->length);
    rest->length -= min_u64(first.length + 1, rest->length);
    return first;
}

static bool take_digits(struct word w, u32 base, u64 most, u32 *out) {
    u64 value = 0;

    if (w.length == 0) return false;
    for (size_t i = 0; i < w.length; i++) {
        int digit = digit_of(w.text[i], (int)base);

        if (digit < 0) return false;
        value = value * base + (u32)digit;
        if (value > most) return false;
    }
    *out = (u32)value;
    return true;
}

/* --- console --- */

#define LAST_PORT 0xfff8u /* a UART has eight */

/* bb:dd.f, all hexadecimal: of segment 0, which alone is reached by ports. */
static bool take_function(struct word w, u32 *id) {
    struct word bus = split(&w, ':'), device = split(&w, '.');
    u32 b, d, f;

    if (!take_digits(bus, 16, 0xff, &b) || !take_digits(device, 16, 0x1f, &d) || !take_digits(w, 16, 7, &f))
        return false;
    *id = PCI_ID(0, b, d, f);
    return true;
}

static bool take_console(struct word value, struct boot_options *o) {
    static const u16 ports[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};
    struct console_choice c = o->console;

    if (!c.given) c = (struct console_choice){.given = true};
    for (bool more = true; more;) {
        const size_t length = value.length;
        struct word one = split(&value, ',');
        u32 at = 0, number;

        more = one.length < length;
        if (is_word(one, "framebuffer")) {
            c.screen = true;
            continue;
        }
        if (is_word(one, "none")) continue;
        if (c.uart != UART_NONE) return false; /* there is one keyboard, and one pace */
        c.uart = UART_PORT;
        if (one.length == 4 && memcmp(one.text, "com", 3) == 0 &&
            take_digits((struct word){one.text + 3, 1}, 10, 4, &number) && number) {
            at = ports[number - 1];
        } else if (one.length > 4 && memcmp(one.text, "pci:", 4) == 0) {
            c.uart = UART_PCI;
            if (!take_function((struct word){one.text + 4, one.length - 4}, &at)) return false;
        } else if (one.length <= 2 || memcmp(one.text, "0x", 2) != 0 ||
                   !take_digits((struct word){one.text + 2, one.length - 2}, 16, LAST_PORT, &at) || !at) {
            return false;
        }
        c.at = at;
    }
    o->console = c;
    return true;
}

/* --- the others --- */

static bool take_level(struct word value, struct boot_options *o) {
    static const char *const names[] = {"quiet", "error", "warn", "info", "debug"};

    for (u32 i = 0; i < ARRAY_SIZE(names); i++)
        if (is_word(value, names[i])) {
            o->level = (enum log_level)(LOG_LEVEL_QUIET + i);
            return true;
        }
    return false;
}

static bool take_config(struct word value, struct boot_options *o) {
    if (value.length == 0 || value.length >= sizeof(o->config)) return false;
    memcpy(o->config, value.text, value.length);
    o->config[value.length] = 0;
    return true;
}

static bool take_cores(struct word value, struct boot_options *o) {
    return take_digits(value, 10, CONFIG_MAX_CORE + 1, &o->cores) && o->cores;
}

/* With a value: take and what it may be. Without: the flag it sets. */
static const struct rule {
    const char *name;
    bool (*take)(struct word value, struct boot_options *o);
    const char *values;
    size_t flag;
} rules[] = {
    {"console", take_console, "com1 to com4 or a port (0x2f8) or pci:bb:dd.f, and framebuffer; or none", 0},
    {"loglevel", take_level, "quiet, error, warn, info or debug", 0},
    {"config", take_config, "the name of a module", 0},
    {"cores", take_cores, "a number, 1 or more", 0},
    {"mullion.inventory", NULL, NULL, offsetof(struct boot_options, inventory)},
    {"noiommu", NULL, NULL, offsetof(struct boot_options, no_iommu)},
    {"no-large-pages", NULL, NULL, offsetof(struct boot_options, no_large_pages)},
    {"no-preemption-timer", NULL, NULL, offsetof(struct boot_options, no_preemption_timer)},
    {"no-tsc-deadline", NULL, NULL, offsetof(struct boot_options, no_tsc_deadline)},
    {"no-x2apic", NULL, NULL, offsetof(struct boot_options, no_x2apic)},
};

static void list_known(char *out, size_t size) {
    size_t n = 0;

    for (u32 i = 0; i < ARRAY_SIZE(rules) && n < size; i++)
        n += fmt(out + n, size - n, "%s%s%s", i ? ", " : "", rules[i].name, rules[i].take ? "=" : "");
}

/* NULL-free on success: returns whether the word is right, with what is wrong in `why`. */
static bool take_word(struct word w, struct boot_options *o, char *why, size_t why_size) {
    struct quoted whole = problem_quote(w.text, w.length);
    struct word value = w, name = split(&value, '=');
    bool has_value = name.length < w.length;
    char known[200];

    for (const struct rule *r = rules; r < rules + ARRAY_SIZE(rules); r++) {
        if (!is_word(name, r->name)) continue;
        if (!r->take && !has_value) {
            *(bool *)((char *)o + r->flag) = true;
            return true;
        }
        if (r->take && has_value && r->take(value, o)) return true;
        if (r->take)
            fmt(why, why_size, "the command line says %s|%s= takes %s", whole.text, r->name, r->values);
        else
            fmt(why, why_size, "the command line says %s|write %s alone, it takes no value", whole.text, r->name);
        return false;
    }
    list_known(known, sizeof(known));
    fmt(why, why_size, "the command line has no parameter %s|correct it or take it out; there are %s", whole.text,
        known);
    return false;
}

int options_parse(const char *cmdline, struct boot_options *out, char *why, size_t why_size) {
    struct word rest = {cmdline, strlen(cmdline)};
    int rc = 0;

    *out = (struct boot_options){.level = LOG_LEVEL_INFO};
    out->console = (struct console_choice){.uart = UART_PORT, .at = 0x3f8};
    memcpy(out->config, CONFIG_FILE_NAME, sizeof(CONFIG_FILE_NAME));
    while (rest.length) {
        struct word w = split(&rest, ' ');

        if (w.length && !take_word(w, out, rc ? NULL : why, rc ? 0 : why_size)) rc = -E_INVAL;
    }
    /* It is the log that the inventory is printed on. */
    if (out->inventory && out->level < LOG_LEVEL_INFO) out->level = LOG_LEVEL_INFO;
    return rc;
}
