/* SPDX-License-Identifier: Apache-2.0 */
/* All models of a server in one table, and what cannot be predicted with the reason. */
#include "text.h"

enum { COLUMNS = 7 };

/* 0: runs now, 1: runs once the loaded models are gone, 2: does not fit, 3: cannot be predicted. */
static int rank(const o3_outlook_line *l)
{
    if (*l->why_not)
        return 3;
    return l->ceiling_tokens != 0 ? 0 : l->ceiling_at_rest_tokens != 0 ? 1 : 2;
}

static int compare(const void *left, const void *right)
{
    const o3_outlook_line *a = left, *b = right;
    if (rank(a) != rank(b))
        return rank(a) - rank(b);
    if (a->parameters != b->parameters)
        return a->parameters > b->parameters ? -1 : 1;
    return strcmp(a->name, b->name);
}

void o3_outlook_rank(o3_outlook_line *lines, int count)
{
    qsort(lines, (size_t)count, sizeof(*lines), compare);
}

static void rate(char *dst, size_t size, const o3_range *r)
{
    if (isfinite(r->mid))
        o3_format(dst, size, r->high < 9.95 ? "%.1f..%.1f" : "%.0f..%.0f", r->low, r->high);
    else
        o3_copy(dst, size, "-");
}

static void tokens_text(char *dst, size_t size, int64_t tokens)
{
    if (tokens == 0)
        o3_copy(dst, size, "none");
    else
        text_tokens(dst, size, tokens);
}

static void line_cells(text_cell *cells, const o3_outlook_line *l)
{
    text_clean(cells[0], sizeof(text_cell), l->name);
    tokens_text(cells[1], sizeof(text_cell), l->ceiling_tokens);
    cells[2][0] = '\0';
    if (l->ceiling_at_rest_tokens != l->ceiling_tokens)
        tokens_text(cells[2], sizeof(text_cell), l->ceiling_at_rest_tokens);
    o3_fmt_bytes(cells[3], sizeof(text_cell), l->total_bytes.mid);
    text_tokens(cells[4], sizeof(text_cell), l->speed.num_ctx);
    rate(cells[5], sizeof(text_cell), &l->speed.prefill_per_s);
    rate(cells[6], sizeof(text_cell), &l->speed.decode_per_s);
}

char *o3_outlook_table(const o3_outlook_line *lines, int count, bool colour)
{
    static const char *const heads[COLUMNS] = {"model", "largest safe", "at rest", "memory", "at num_ctx", "prefill/s",
                                               "decode/s"};
    o3_buf buf = O3_BUF(8u << 20);
    int shown = 0;
    while (shown < count && !*lines[shown].why_not)
        shown++;
    o3_auto(free) text_cell *cells = o3_alloc((size_t)(shown ? shown : 1) * COLUMNS, sizeof(*cells));
    for (int i = 0; i < shown; i++)
        line_cells(&cells[i * COLUMNS], &lines[i]);
    if (shown) {
        text_grid(&buf, colour, COLUMNS, heads, shown, cells);
        text_wrap(&buf, 0, 2, "largest safe: num_ctx that fits now (at rest: without the models that are loaded); memory "
                  "and 90 % ranges of the rates at half of the window in \"at num_ctx\"; larger models first");
    }
    for (int i = shown; i < count; i++) {
        if (i == shown)
            o3_buf_str(&buf, shown ? "\nNot predicted:\n" : "Not predicted:\n");
        o3_buf_str(&buf, "  ");
        text_wrap(&buf, 2, 4, lines[i].why_not);
    }
    return buf.data ? buf.data : o3_strdup("no models\n");
}
