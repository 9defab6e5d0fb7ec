/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

int text_width(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

void text_clean(char *dst, size_t dst_size, const char *src)
{
    size_t len = 0;
    for (; *src && len < dst_size - 1; src++)
        dst[len++] = (unsigned char)*src < 0x20 || *src == 0x7f ? ' ' : *src;
    /* A character cut in half at the end goes as a whole. */
    if (*src)
        while (len && (*src & 0xc0) == 0x80)
            src = &dst[--len];
    dst[len] = '\0';
}

void text_styled(o3_buf *buf, bool colour, const char *style, const char *text)
{
    if (colour && *text)
        o3_buf_printf(buf, "%s%s\x1b[0m", style, text);
    else
        o3_buf_str(buf, text);
}

/* Length of the next piece that stays on one line: a word, with "± 1.1" and "%" kept at their number. */
static size_t piece(const char *text)
{
    size_t len = 0;
    for (;;) {
        size_t start = len;
        len += strcspn(text + len, " ");
        size_t next = len + strspn(text + len, " ");
        bool sign = len - start == strlen("±") && !strncmp(text + start, "±", strlen("±"));
        bool follows = text[next] == '%' || !strncmp(text + next, "± ", strlen("± "));
        if (next == len || !text[next] || (!sign && !follows))
            return len;
        len = next;
    }
}

void text_wrap(o3_buf *buf, int used, int indent, const char *text)
{
    o3_auto(free) char *copy = o3_alloc(strlen(text) + 1, 1);
    int column = used;
    bool first = true;
    text_clean(copy, strlen(text) + 1, text);
    for (char *p = copy + strspn(copy, " "); *p; p += strspn(p, " ")) {
        size_t len = piece(p);
        char end = p[len];
        p[len] = '\0';
        int width = text_width(p);
        if (!first && column + 1 + width > TEXT_WIDTH) {
            o3_buf_printf(buf, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        o3_buf_printf(buf, "%s%s", first ? "" : " ", p);
        column += width + !first;
        first = false;
        p[len] = end;
        p += len;
    }
    o3_buf_str(buf, "\n");
}

void text_block(o3_buf *buf, bool colour, const char *label, const char *text)
{
    text_styled(buf, colour, TEXT_BOLD, label);
    o3_buf_str(buf, ": ");
    text_wrap(buf, text_width(label) + 2, 2, text);
}

#define GRID_GAP 2
#define GRID_FIRST_MIN 12

/* Widths of the columns that have something to show, 0 of the others. */
static void grid_widths(int columns, const char *const *heads, int rows, text_cell *cells, int *ret_widths)
{
    int total = -GRID_GAP;
    for (int c = 0; c < columns; c++) {
        int widest = 0;
        for (int r = 0; r < rows; r++) {
            int width = text_width(cells[r * columns + c]);
            widest = width > widest ? width : widest;
        }
        int head = text_width(heads[c]);
        ret_widths[c] = !widest ? 0 : widest > head ? widest : head;
        total += ret_widths[c] ? ret_widths[c] + GRID_GAP : 0;
    }
    int over = total - TEXT_WIDTH, spare = ret_widths[0] - GRID_FIRST_MIN;
    if (over > 0 && spare > 0)
        ret_widths[0] -= over < spare ? over : spare;
}

/* The text, or what fits of it with "…" at its end. */
static void grid_first(o3_buf *buf, bool colour, const char *style, const char *text, int width)
{
    char cut[sizeof(text_cell) + 8];
    size_t len = 0;
    int shown = 0;
    bool whole = text_width(text) <= width;
    for (; text[len] && (whole || shown < width - 1 || (text[len] & 0xc0) == 0x80); len++)
        shown += (text[len] & 0xc0) != 0x80 ? 1 : 0;
    O3_FORMAT(cut, "%.*s%s", (int)len, text, whole ? "" : "…");
    text_styled(buf, colour, style, cut);
    o3_buf_printf(buf, "%*s", width - text_width(cut), "");
}

static void grid_row(o3_buf *buf, bool colour, const char *style, int columns, const int *widths,
                     const char *const *texts)
{
    while (columns > 1 && !*texts[columns - 1])
        columns--; /* no blanks at the end of a line */
    grid_first(buf, colour, style, texts[0], widths[0]);
    for (int c = 1; c < columns; c++) {
        if (!widths[c])
            continue;
        o3_buf_printf(buf, "%*s", GRID_GAP + widths[c] - text_width(texts[c]), "");
        text_styled(buf, colour, style, texts[c]);
    }
    o3_buf_str(buf, "\n");
}

void text_grid(o3_buf *buf, bool colour, int columns, const char *const *heads, int rows, text_cell *cells)
{
    int widths[TEXT_COLUMNS_MAX];
    if (!rows)
        return;
    grid_widths(columns, heads, rows, cells, widths);
    grid_row(buf, colour, TEXT_DIM, columns, widths, heads);
    for (int r = 0; r < rows; r++) {
        const char *texts[TEXT_COLUMNS_MAX];
        for (int c = 0; c < columns; c++)
            texts[c] = cells[r * columns + c];
        grid_row(buf, colour, "", columns, widths, texts);
    }
}

void text_tokens(char *dst, size_t dst_size, int64_t tokens)
{
    char digits[32], out[48];
    size_t n = 0;
    if (tokens < 0) {
        o3_copy(dst, dst_size, "unknown");
        return;
    }
    O3_FORMAT(digits, "%lld", (long long)tokens);
    for (size_t i = 0, len = strlen(digits); i < len; i++) {
        out[n++] = digits[i];
        if ((len - 1 - i) % 3 == 0 && i + 1 < len)
            out[n++] = ',';
    }
    out[n] = '\0';
    o3_copy(dst, dst_size, out);
}

void text_short_ms(char *dst, size_t dst_size, double ms)
{
    if (!(ms >= 0))
        o3_copy(dst, dst_size, "-");
    else if (ms < 999.5)
        o3_format(dst, dst_size, "%.0f ms", ms);
    else if (ms < 9950)
        o3_format(dst, dst_size, "%.1f s", ms / 1000);
    else if (ms < 99500)
        o3_format(dst, dst_size, "%.0f s", ms / 1000);
    else
        o3_format(dst, dst_size, "%d:%02d", (int)(ms / 1000 + 0.5) / 60, (int)(ms / 1000 + 0.5) % 60);
}

static int decimals(double mean, double half)
{
    int digits = mean >= 99.5 ? 0 : mean >= 9.95 ? 1 : 2;
    return digits == 0 && half < 0.5 ? 1 : digits;
}

bool text_known(const o3_measure *measure)
{
    return isfinite(measure->mean) && (measure->mean > 0 || measure->n > 0);
}

void text_rate(char *dst, size_t dst_size, const o3_measure *rate)
{
    bool interval = isfinite(rate->low) && isfinite(rate->high);
    double half = interval ? (rate->high - rate->low) / 2 : NAN;
    if (!text_known(rate))
        o3_copy(dst, dst_size, "-");
    else if (rate->n > 0 && interval)
        o3_format(dst, dst_size, "%.*f ± %.*f", decimals(rate->mean, half), rate->mean, decimals(rate->mean, half),
                  half);
    else if (rate->n > 0)
        o3_format(dst, dst_size, "%.*f", decimals(rate->mean, 1), rate->mean);
    else if (interval)
        o3_format(dst, dst_size, rate->high < 9.95 ? "%.1f..%.1f" : "%.0f..%.0f", rate->low, rate->high);
    else
        o3_format(dst, dst_size, "about %.0f", rate->mean);
}

void text_ttft(char *dst, size_t dst_size, const o3_measure *ttft)
{
    char text[32];
    text_short_ms(text, sizeof(text), text_known(ttft) ? ttft->mean : NAN);
    o3_format(dst, dst_size, "%s%s", ttft->n > 0 || !text_known(ttft) ? "" : "~", text);
}

void text_knob(char *dst, size_t dst_size, const o3_knobs *knobs, const o3_knob_field *field)
{
    int32_t value = o3_knob_get(knobs, field);
    if (value == O3_UNSET)
        o3_copy(dst, dst_size, "auto");
    else if (field->boolean)
        o3_copy(dst, dst_size, value ? "true" : "false");
    else
        o3_format(dst, dst_size, "%d", value);
}

int64_t text_peak(const o3_peaks *peaks)
{
    int64_t most = -1;
    for (int i = 0; i < peaks->count; i++)
        if (peaks->pools[i].runner_bytes > most)
            most = peaks->pools[i].runner_bytes;
    return most;
}

const char *text_state(const o3_preset *preset)
{
    return !preset->measured ? "predicted" : preset->proven ? "✔ filled" : "measured";
}

text_verdict text_compare(const o3_measure *a, const o3_measure *b, double *ret_percent)
{
    *ret_percent = NAN;
    bool known = a->n > 1 && b->n > 1 && isfinite(a->low) && isfinite(a->high) && isfinite(b->low) &&
                 isfinite(b->high) && a->mean > 0 && b->mean > 0;
    bool equal_depth = a->depth_tokens > 0 && b->depth_tokens > 0 &&
                       llabs((long long)(a->depth_tokens - b->depth_tokens)) * 10 <= b->depth_tokens;
    if (!known || !equal_depth || a->disturbed || b->disturbed)
        return TEXT_UNKNOWN;
    *ret_percent = (a->mean / b->mean - 1) * 100;
    if (a->low <= b->high && b->low <= a->high)
        return TEXT_SAME;
    return a->mean > b->mean ? TEXT_FASTER : TEXT_SLOWER;
}
