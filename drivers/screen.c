#include "drivers/screen.h"

#include "core/base/bits.h"
#include "core/base/string.h"
#include "drivers/font.h"

#define TAB        8
#define TEXT_COLOR 0x0700u /* light grey on black, IBM VGA: attribute byte */

/* Where in an escape sequence the text is. ECMA-48, Elements of control functions and Control strings. */
enum escape { PLAIN, ESCAPE, CONTROL, STRING };

static struct screen_mode screen __attribute__((section(".late")));
static u32 columns __attribute__((section(".late"))), rows __attribute__((section(".late"))); /* 0: there is none */

static u8 cells[SCREEN_ROWS][SCREEN_COLUMNS]; /* what is to be seen: row r in cells[(top + r) % rows] */
static u8 drawn[SCREEN_ROWS][SCREEN_COLUMNS]; /* what is seen */
static u64 dirty;                             /* by row: the two may differ */
static u32 top, row, column;                  /* the cursor's */
static enum escape escape;
_Static_assert(SCREEN_ROWS <= 64, "one bit for each row");

static volatile void *place(u32 y, u64 bytes) { return (volatile u8 *)screen.memory + (u64)y * screen.pitch + bytes; }

static void draw(u32 r, u32 c, u8 character) {
    const u8 *glyph = font[character - FONT_FIRST];

    if (screen.text) {
        *(volatile u16 *)place(r, 2 * (u64)c) = (u16)(TEXT_COLOR | character);
        return;
    }
    for (u32 y = 0; y < FONT_HEIGHT; y++) {
        volatile u32 *pixels = place(r * FONT_HEIGHT + y, 4 * (u64)c * FONT_WIDTH);

        for (u32 x = 0; x < FONT_WIDTH; x++) pixels[x] = glyph[y] & 0x80 >> x ? screen.ink : 0;
    }
}

void screen_open(const struct screen_mode *mode) {
    screen = *mode;
    columns = (u32)min_u64(mode->text ? mode->width : mode->width / FONT_WIDTH, SCREEN_COLUMNS);
    rows = (u32)min_u64(mode->text ? mode->height : mode->height / FONT_HEIGHT, SCREEN_ROWS);
    if (!columns) rows = 0;
    memset(cells, ' ', sizeof(cells));
    memset(drawn, ' ', sizeof(drawn));
    dirty = top = row = column = 0;
    escape = PLAIN;
    for (u32 y = 0; y < mode->height; y++)
        for (u32 x = 0; x < mode->width; x++)
            if (mode->text)
                *(volatile u16 *)place(y, 2 * (u64)x) = TEXT_COLOR | ' ';
            else
                *(volatile u32 *)place(y, 4 * (u64)x) = 0;
}

void screen_close(void) { rows = 0; }

static void new_line(void) {
    column = 0;
    if (++row < rows) return;
    row = rows - 1;
    memset(cells[top], ' ', columns);
    top = (top + 1) % rows;
    dirty = ~(u64)0 >> (64 - rows);
}

static void put_character(u8 character) {
    if (column == columns) new_line();
    cells[(top + row) % rows][column++] = character;
    dirty |= BIT(row);
}

/* True if the byte belongs to an escape sequence. */
static bool is_escape(u8 byte) {
    const enum escape before = escape;

    if (byte == 0x1b)
        escape = ESCAPE;
    else if (before == ESCAPE)
        escape = byte == '[' ? CONTROL : byte == ']' ? STRING : PLAIN;
    else if (before == CONTROL ? byte >= 0x40 : byte == 7)
        escape = PLAIN;
    return before != PLAIN || byte == 0x1b;
}

void screen_put(u8 byte) {
    if (!rows || is_escape(byte)) return;
    switch (byte) {
    case '\n': new_line(); break;
    case '\r': column = 0; break;
    case '\b': column -= column > 0; break;
    case '\t':
        do put_character(' ');
        while (column % TAB && column < columns);
        break;
    default:
        if (byte >= FONT_FIRST && byte < FONT_FIRST + FONT_GLYPHS) put_character(byte);
        if (byte >= 0xc0) put_character('?'); /* UTF-8: one for all the bytes of a character */
    }
}

bool screen_paint(u32 most) {
    while (rows && dirty) {
        const u32 r = (u32)__builtin_ctzll(dirty);
        const u8 *wanted = cells[(top + r) % rows];

        for (u32 c = 0; c < columns; c++) {
            if (drawn[r][c] == wanted[c]) continue;
            if (most-- == 0) return true;
            draw(r, c, wanted[c]);
            drawn[r][c] = wanted[c];
        }
        dirty &= dirty - 1;
    }
    return false;
}
