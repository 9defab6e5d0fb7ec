/* SPDX-License-Identifier: Apache-2.0 */
/* What settings of the whole server bring (--own-server): a table of those that were tried, a line for each that was not. */
#include "text.h"

static void ratio_cell(char *dst, size_t size, const o3_range *r)
{
    if (isfinite(r->low) && isfinite(r->high))
        o3_format(dst, size, "x%.2f (%.2f-%.2f)", r->mid, r->low, r->high);
    else if (isfinite(r->mid))
        o3_format(dst, size, "x%.2f", r->mid);
    else
        o3_copy(dst, size, "-");
}

static void window_cell(char *dst, size_t size, const o3_server_row *row, const o3_server_row *first)
{
    char tokens[32];
    text_tokens(tokens, sizeof(tokens), row->window_tokens);
    if (row->window_tokens <= 0)
        o3_copy(dst, size, "-");
    else if (row != first && first->window_tokens > 0)
        o3_format(dst, size, "%s (x%.2f)", tokens, (double)row->window_tokens / (double)first->window_tokens);
    else
        o3_copy(dst, size, tokens);
}

static void add_table(o3_buf *buf, bool colour, const o3_result *result)
{
    static const char *const heads[] = {"server", "window", "decode/s", "decode ratio", "prefill ratio"};
    text_cell cells[O3_SERVERS_MAX * O3_COUNT(heads)];
    int rows = 0;
    memset(cells, 0, sizeof(cells));
    for (int i = 0; i < result->server_count; i++) {
        const o3_server_row *row = &result->servers[i];
        text_cell *cell = &cells[rows * O3_COUNT(heads)];
        if (!row->measured)
            continue;
        text_clean(cell[0], sizeof(cell[0]), row->name);
        window_cell(cell[1], sizeof(cell[1]), row, &result->servers[0]);
        text_rate(cell[2], sizeof(cell[2]), &row->decode_per_s);
        if (i) {
            ratio_cell(cell[3], sizeof(cell[3]), &row->decode_ratio);
            ratio_cell(cell[4], sizeof(cell[4]), &row->prefill_ratio);
        }
        rows++;
    }
    if (rows)
        text_grid(buf, colour, O3_COUNT(heads), heads, rows, cells);
}

static void add_legend(o3_buf *buf, const o3_result *result)
{
    char line[320], depth[32];
    const o3_server_row *first = &result->servers[0];
    text_tokens(depth, sizeof(depth), first->decode_per_s.depth_tokens);
    if (first->turns > 0) {
        O3_FORMAT(line, "rates at %s tokens of depth, %d visits each in turns, ratios to as-is with 95 %% interval%s; windows filled once, "
                  "beside the memory of a second server", depth, first->turns,
                  first->decode_per_s.disturbed ? ", the machine was busy with something else meanwhile" : "");
        o3_buf_str(buf, "  ");
        text_wrap(buf, 2, 2, line);
    }
}

/* The settings themselves, once: what is not worth trying is said with its reason. */
static void add_lines(o3_buf *buf, const o3_result *result)
{
    for (int i = 0; i < result->server_count; i++) {
        const o3_server_row *row = &result->servers[i];
        char line[1024], note[O3_TEXT_MAX], seen[sizeof(row->in_force)];
        text_clean(note, sizeof(note), row->note);
        text_clean(seen, sizeof(seen), row->in_force);
        if (i == 0 && !*note)
            continue;
        if (!row->measured && !*note)
            O3_COPY(note, "not tried yet");
        O3_FORMAT(line, "%s: %s%s%s%s%s", row->name, *row->env && row->measured ? "set " : "", row->measured ? row->env : "",
                  row->measured && *note ? "; " : "", note, "");
        if (row->measured && !*note)
            O3_FORMAT(line, "%s: set %s; quality not checked%s%s%s", row->name, row->env, *seen ? " (in force: " : " (not seen "
                      "in force)", seen, *seen ? ")" : "");
        o3_buf_str(buf, "  ");
        text_wrap(buf, 2, 4, line);
    }
}

void text_servers(o3_buf *buf, bool colour, const o3_result *result)
{
    if (!result->server_count)
        return;
    text_styled(buf, colour, TEXT_BOLD, "Settings of the whole server");
    o3_buf_str(buf, ", each tried on a private one:\n");
    add_table(buf, colour, result);
    add_legend(buf, result);
    add_lines(buf, result);
    if (!result->servers_complete)
        text_block(buf, colour, "Not all", "the same command with a larger --budget goes on from here");
    o3_buf_str(buf, "\n");
}
