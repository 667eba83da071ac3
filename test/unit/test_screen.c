/* drivers/screen.c on made-up video memory: what is drawn where, how it scrolls, and that nothing else is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/font.h"
#include "drivers/screen.h"

#define INK   0x00ffffffu
#define GUARD 0x77

static u8 *memory; /* of exactly the screen's size: ASan sees a write past it */
static struct screen_mode mode;

static void open_screen(u32 width, u32 height, u32 pitch, bool text) {
    free(memory);
    memory = malloc((size_t)pitch * height);
    memset(memory, GUARD, (size_t)pitch * height);
    mode = (struct screen_mode){memory, width, height, pitch, text, INK};
    screen_open(&mode);
}

static void print(const char *text) {
    for (; *text; text++) screen_put((u8)*text);
}

static void paint(void) { assert_false(screen_paint(~0u)); }

/* The character drawn there, or 0 for what is none. */
static char seen(u32 row, u32 column) {
    if (mode.text) {
        const u8 *at = memory + row * mode.pitch + 2 * column;

        return at[1] == 7 ? (char)at[0] : 0;
    }
    for (u32 g = 0; g < FONT_GLYPHS; g++) {
        bool same = true;

        for (u32 y = 0; y < FONT_HEIGHT && same; y++)
            for (u32 x = 0; x < FONT_WIDTH && same; x++) {
                u32 pixel;

                memcpy(&pixel, memory + (row * FONT_HEIGHT + y) * mode.pitch + 4 * (column * FONT_WIDTH + x), 4);
                same = pixel == (font[g][y] & 0x80 >> x ? INK : 0);
            }
        if (same) return (char)(FONT_FIRST + g);
    }
    return 0;
}

static void assert_row(u32 row, const char *text) {
    char is[200] = "";
    u32 columns = mode.text ? mode.width : mode.width / FONT_WIDTH;

    paint();
    for (u32 c = 0; c < columns && c < sizeof(is) - 1; c++) is[c] = seen(row, c);
    for (size_t n = strlen(is); n && is[n - 1] == ' '; n--) is[n - 1] = 0;
    assert_string_equal(text, is);
}

/* Each glyph is another one, and all but the space have ink. */
static void test_font(void **state) {
    (void)state;
    for (u32 a = 0; a < FONT_GLYPHS; a++)
        for (u32 b = 0; b < a; b++) assert_memory_not_equal(font[a], font[b], FONT_HEIGHT);
    for (u32 y = 0; y < FONT_HEIGHT; y++) assert_int_equal(0, font[0][y]);
}

static void test_lines(void **state) {
    const bool text = *(bool *)*state;

    if (text)
        open_screen(20, 4, 44, true);
    else
        open_screen(20 * 8 + 3, 4 * 16 + 5, 800, false);
    for (u32 r = 0; r < 4; r++) assert_row(r, "");
    print("~first {1}\r\nsecond\n");
    assert_row(0, "~first {1}");
    assert_row(1, "second");
    print("a\tb\b\bcd\rX\n");
    assert_row(2, "X      cd");
    print("this line has thirty columns  !"); /* and goes on in the next, so that all moves up */
    assert_row(0, "second");
    assert_row(1, "X      cd");
    assert_row(2, "this line has thirty");
    assert_row(3, " columns  !");
    print("\nlast");
    assert_row(2, " columns  !");
    assert_row(3, "last");
    print("\n\n\n\n");
    for (u32 r = 0; r < 4; r++) assert_row(r, "");
    /* What lies between two rows of pixels is not the screen's. */
    for (u32 y = 0; y < mode.height; y++)
        for (u32 x = mode.width * (text ? 2 : 4); x < mode.pitch; x++)
            assert_int_equal(GUARD, memory[y * mode.pitch + x]);
}

static void test_escapes(void **state) {
    (void)state;
    open_screen(40, 4, 80, true);
    print("\x1b[1;31mred\x1b[0m \x1b]0;title\x07title \x1b"
          "7gone \x1b[?25l\x1b[K!\x01\x7f\n");
    assert_row(0, "red title gone !");
    print("gr\xc3\xbc\xc3\x9f"
          "e \xe2\x82\xac \xff\n");
    assert_row(1, "gr??e ? ?");
    print("\x1b[12"); /* never ended: what follows is its end */
    print("x\x1b\x1b[mok");
    assert_row(2, "ok");
}

/* A little at a time: what is left is told, and nothing is lost. */
static void test_budget(void **state) {
    u32 rounds = 0;

    (void)state;
    open_screen(80, 25, 160, true);
    assert_false(screen_paint(0));
    for (u32 i = 0; i < 40; i++) print("0123456789abcdef0123456789abcdef\n");
    assert_true(screen_paint(0));
    assert_int_equal(' ', seen(0, 0));
    assert_true(screen_paint(1));
    assert_int_equal('0', seen(0, 0));
    assert_int_equal(' ', seen(0, 1));
    while (screen_paint(32)) rounds++;
    assert_int_equal(24 - 1, rounds); /* 24 rows of 32 characters; the last round leaves none */
    assert_row(23, "0123456789abcdef0123456789abcdef");
    /* Only what has changed is drawn. */
    memset(memory, GUARD, 25 * 160);
    print("0123\n");
    paint();
    assert_int_equal(GUARD, memory[0]);
}

static void test_sizes(void **state) {
    (void)state;
    open_screen(7, 100, 28, false); /* narrower than a character */
    print("nothing\n");
    paint();
    open_screen(100, 15, 400, false);
    print("nothing\n");
    paint();
    open_screen(8, 16, 32, false);
    print("ab");
    assert_row(0, "b");
    open_screen(200 * 8, 70 * 16, 200 * 32, false); /* larger than the copy of it */
    for (u32 i = 0; i < 161; i++) print("x");
    paint();
    assert_int_equal('x', seen(0, 159));
    assert_int_equal(' ', seen(0, 160));
    assert_int_equal('x', seen(1, 0));
    for (u32 i = 0; i < 100; i++) print("\ny");
    paint();
    assert_int_equal('y', seen(63, 0));
    assert_int_equal(' ', seen(64, 0));
    print("\n");
    screen_close();
    memset(memory, GUARD, 70 * 16 * 200 * 32);
    print("too late\n");
    paint();
    for (u32 i = 0; i < 70 * 16 * 200 * 32; i++) assert_int_equal(GUARD, memory[i]);
}

static void test_noise(void **state) {
    (void)state;
    srand(1);
    open_screen(33, 7, 66, true);
    for (u32 i = 0; i < 300000; i++) {
        screen_put((u8)(rand() & (i & 64 ? 0xff : 0x1f)));
        if (i % 5 == 0) (void)!screen_paint((u32)rand() % 20);
    }
    print("\x07\x1b[m\n\n\n\n\n\n\nquiet");
    assert_row(6, "quiet");
}

static bool text = true, pixels;
static void *is_text = &text, *is_pixels = &pixels;

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_font),
        cmocka_unit_test_prestate(test_lines, is_text),
        cmocka_unit_test_prestate(test_lines, is_pixels),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_noise),
    };
    int failed = cmocka_run_group_tests_name("screen", tests, NULL, NULL);

    free(memory);
    return failed;
}
