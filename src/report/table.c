/* SPDX-License-Identifier: Apache-2.0 */
/* The table of presets. Columns are as wide as their content; a knob that is the same in every preset is said once
 * below instead; what would pass 80 columns goes in the order of `spare`. */
#include "text.h"

typedef struct column {
    const char *head;
    bool left;
    int spare; /* left out first when there is no room: 1, then 2; 0 = never */
    void (*cell)(char *dst, size_t dst_size, const o3_preset *preset);
    const char *knob; /* shown only where presets differ in it */
} column;

static void knob_cell(char *dst, size_t size, const o3_preset *preset, const char *name)
{
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++)
        if (!strcmp(field->name, name))
            text_knob(dst, size, &preset->knobs, field);
}

static void cell_name(char *dst, size_t size, const o3_preset *preset)
{
    text_clean(dst, size, preset->name);
}

static void cell_ctx(char *dst, size_t size, const o3_preset *preset)
{
    knob_cell(dst, size, preset, "num_ctx");
}

static void cell_batch(char *dst, size_t size, const o3_preset *preset)
{
    knob_cell(dst, size, preset, "num_batch");
}

static void cell_threads(char *dst, size_t size, const o3_preset *preset)
{
    knob_cell(dst, size, preset, "num_thread");
}

static void cell_gpu(char *dst, size_t size, const o3_preset *preset)
{
    knob_cell(dst, size, preset, "num_gpu");
}

static void cell_mmap(char *dst, size_t size, const o3_preset *preset)
{
    knob_cell(dst, size, preset, "use_mmap");
}

static void cell_prefill(char *dst, size_t size, const o3_preset *preset)
{
    text_rate(dst, size, &preset->prefill_per_s);
}

static void cell_decode(char *dst, size_t size, const o3_preset *preset)
{
    text_rate(dst, size, &preset->decode_per_s);
}

static void cell_ttft(char *dst, size_t size, const o3_preset *preset)
{
    text_ttft(dst, size, &preset->ttft_ms);
}

static void cell_peak(char *dst, size_t size, const o3_preset *preset)
{
    int64_t bytes = text_peak(&preset->peaks);
    if (bytes < 0)
        o3_copy(dst, size, "-");
    else
        o3_fmt_bytes(dst, size, (double)bytes);
}

static void cell_score(char *dst, size_t size, const o3_preset *preset)
{
    if (isfinite(preset->score.total))
        o3_format(dst, size, "%.2f", preset->score.total);
    else
        o3_copy(dst, size, "-");
}

static void cell_state(char *dst, size_t size, const o3_preset *preset)
{
    o3_copy(dst, size, text_state(preset));
}

static const column columns[] = {
    {.head = "preset", .left = true, .cell = cell_name},
    {.head = "num_ctx", .cell = cell_ctx},
    {.head = "batch", .cell = cell_batch, .knob = "num_batch"},
    {.head = "threads", .cell = cell_threads, .knob = "num_thread"},
    {.head = "num_gpu", .cell = cell_gpu, .knob = "num_gpu"},
    {.head = "mmap", .cell = cell_mmap, .knob = "use_mmap"},
    {.head = "prefill/s", .cell = cell_prefill, .spare = 3},
    {.head = "decode/s", .cell = cell_decode},
    {.head = "TTFT", .cell = cell_ttft},
    {.head = "peak", .cell = cell_peak, .spare = 2},
    {.head = "score", .cell = cell_score, .spare = 1},
    {.head = "proof", .left = true, .cell = cell_state},
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]), ROWS = O3_PRESETS_MAX + 1 };

static int32_t knob_of(const o3_preset *preset, const char *name)
{
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++)
        if (!strcmp(field->name, name))
            return o3_knob_get(&preset->knobs, field);
    return O3_UNSET;
}

static bool knob_differs(const o3_result *result, const char *name)
{
    for (int i = 1; i < result->preset_count; i++)
        if (knob_of(&result->presets[i], name) != knob_of(&result->presets[0], name))
            return true;
    return false;
}

static int total_width(const int widths[COLUMNS], int gap)
{
    int total = -gap;
    for (int i = 0; i < COLUMNS; i++)
        total += widths[i] ? widths[i] + gap : 0;
    return total;
}

/* Widths of the columns shown (0 = left out); returns the gap between them. */
static int layout(const o3_result *result, const o3_preset *const *rows, int row_count, int widths[COLUMNS])
{
    for (int c = 0; c < COLUMNS; c++) {
        widths[c] = 0;
        if (columns[c].knob && !knob_differs(result, columns[c].knob))
            continue;
        widths[c] = text_width(columns[c].head);
        for (int r = 0; r < row_count; r++) {
            char cell[96];
            columns[c].cell(cell, sizeof(cell), rows[r]);
            if (text_width(cell) > widths[c])
                widths[c] = text_width(cell);
        }
    }
    for (int gap = 2; gap >= 1; gap--)
        if (total_width(widths, gap) <= TEXT_WIDTH)
            return gap;
    for (int spare = 1; spare <= 3 && total_width(widths, 1) > TEXT_WIDTH; spare++)
        for (int c = 0; c < COLUMNS; c++)
            if (columns[c].spare == spare)
                widths[c] = 0;
    return 1;
}

static void add_cell(o3_buf *buf, bool colour, const column *c, int width, bool last, const char *text,
                     const char *style)
{
    int pad = width - text_width(text);
    if (!c->left)
        o3_buf_printf(buf, "%*s", pad, "");
    text_styled(buf, colour && *style, style, text);
    if (c->left && !last)
        o3_buf_printf(buf, "%*s", pad, "");
}

static void add_row(o3_buf *buf, bool colour, const int widths[COLUMNS], int gap, const o3_preset *preset)
{
    bool first = true;
    for (int c = 0; c < COLUMNS; c++) {
        char cell[96];
        const char *style = !preset ? TEXT_DIM : !preset->measured ? TEXT_DIM : "";
        if (!widths[c])
            continue;
        if (preset)
            columns[c].cell(cell, sizeof(cell), preset);
        else
            O3_COPY(cell, columns[c].head);
        if (preset && c == COLUMNS - 1 && preset->measured && preset->proven)
            style = TEXT_GREEN;
        if (!first)
            o3_buf_printf(buf, "%*s", gap, "");
        add_cell(buf, colour, &columns[c], widths[c], c == COLUMNS - 1, cell, style);
        first = false;
    }
    o3_buf_str(buf, "\n");
}

/* "num_batch 512, num_thread auto" of those knobs that the table does not show, less those nobody set. */
static void shared_knobs(char *dst, size_t size, const o3_result *result, const o3_preset *preset,
                         const o3_preset *other)
{
    size_t len = 0;
    dst[0] = '\0';
    for (int c = 0; c < COLUMNS; c++) {
        char value[32];
        if (!columns[c].knob || knob_differs(result, columns[c].knob))
            continue;
        if (knob_of(preset, columns[c].knob) == O3_UNSET && knob_of(other, columns[c].knob) == O3_UNSET)
            continue;
        columns[c].cell(value, sizeof(value), preset);
        o3_format(dst + len, size - len, "%s%s %s", len ? ", " : "", columns[c].knob, value);
        len = strlen(dst);
    }
}

char *o3_result_table(const o3_result *result, bool colour)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    o3_preset baseline = result->baseline;
    const o3_preset *rows[ROWS];
    int widths[COLUMNS], row_count = 0;
    char mine[160], theirs[160], line[400];
    for (int i = 0; i < result->preset_count; i++)
        rows[row_count++] = &result->presets[i];
    O3_COPY(baseline.name, "Ollama default");
    bool compared = baseline.measured || text_known(&baseline.decode_per_s);
    if (compared)
        rows[row_count++] = &baseline;
    if (!row_count)
        return o3_strdup("no presets\n");
    int gap = layout(result, rows, row_count, widths);
    add_row(&buf, colour, widths, gap, NULL);
    for (int r = 0; r < row_count; r++)
        add_row(&buf, colour, widths, gap, rows[r]);
    if (!result->preset_count)
        return O3_TAKE(buf.data);
    const o3_preset *other = compared ? &baseline : &result->presets[0];
    shared_knobs(mine, sizeof(mine), result, &result->presets[0], other);
    shared_knobs(theirs, sizeof(theirs), result, other, &result->presets[0]);
    if (*mine) {
        bool differ = compared && strcmp(mine, theirs);
        O3_FORMAT(line, "%s preset%s: %s%s%s", result->preset_count > 1 ? "every" : "the",
                  differ ? "" : compared ? " and the default" : "", mine, differ ? "; the default: " : "",
                  differ ? theirs : "");
        text_wrap(&buf, 0, 2, line);
    }
    return O3_TAKE(buf.data);
}
