/* SPDX-License-Identifier: Apache-2.0 */
/* A prediction as a person reads it: the largest context first, then what each context costs, then where the bytes lie. */
#include "text.h"

static void rate(char *dst, size_t size, double per_s)
{
    if (!isfinite(per_s))
        o3_copy(dst, size, "-");
    else if (per_s < 9.95)
        o3_format(dst, size, "%.1f", per_s);
    else
        text_tokens(dst, size, (int64_t)(per_s + 0.5));
}

static void bytes_text(char *dst, size_t size, double bytes)
{
    if (bytes > 0)
        o3_fmt_bytes(dst, size, bytes);
    else
        o3_copy(dst, size, bytes < 0 || isnan(bytes) ? "unknown" : "-");
}

static void byte_range(char *dst, size_t size, const o3_range *r)
{
    char low[32], high[32];
    bytes_text(low, sizeof(low), r->low);
    bytes_text(high, sizeof(high), r->high);
    o3_format(dst, size, "%s to %s", low, high);
}

/* Decimal, as `ollama ps` writes them. */
static void decimal_bytes(char *dst, size_t size, double bytes)
{
    if (bytes >= 999.5e6)
        o3_format(dst, size, "%.1f GB", bytes / 1e9);
    else
        o3_format(dst, size, "%.0f MB", bytes / 1e6);
}

static void rate_range(char *dst, size_t size, const o3_range *r)
{
    char low[32], high[32];
    rate(low, sizeof(low), r->low);
    rate(high, sizeof(high), r->high);
    o3_format(dst, size, "%s to %s/s", low, high);
}

static void add_head(o3_buf *buf, bool colour, const o3_outlook *o)
{
    char name[O3_NAME_MAX], line[1024], parameters[64] = "", layers[32] = "", trained[64] = "", tokens[32];
    const o3_model *m = o->model;
    text_clean(name, sizeof(name), m->name);
    text_styled(buf, colour, TEXT_BOLD, name);
    O3_FORMAT(line, "on %.200s: predicted%s%s, nothing was loaded", o->machine, *o->engine_version ? " for Ollama " : "",
              o->engine_version);
    o3_buf_str(buf, " ");
    text_wrap(buf, text_width(name) + 1, 2, line);
    if (m->parameters > 0)
        O3_FORMAT(parameters, m->parameters < 1000000000 ? ", %.0fM parameters" : ", %.3gB parameters",
                  (double)m->parameters / (m->parameters < 1000000000 ? 1e6 : 1e9));
    if (m->layers > 0)
        O3_FORMAT(layers, ", %d layers", m->layers);
    text_tokens(tokens, sizeof(tokens), m->trained_tokens);
    if (m->trained_tokens > 0)
        O3_FORMAT(trained, ", trained for %s tokens", tokens);
    O3_FORMAT(line, "%s%s%s%s%s%s", m->architecture, *m->quantization ? ", " : "", m->quantization, parameters, layers,
              trained);
    text_wrap(buf, 0, 2, line);
    o3_buf_str(buf, "\n");
}

static void ceiling_text(char *dst, size_t size, int64_t tokens)
{
    if (tokens == 0)
        o3_copy(dst, size, "none");
    else
        text_tokens(dst, size, tokens);
}

static void add_ceiling(o3_buf *buf, bool colour, const o3_outlook *o)
{
    char now[32], rest[64] = "", why[160] = "", line[320];
    const o3_pool *pool = o->limiting >= 0 ? &o->profile->pools[o->limiting] : NULL;
    ceiling_text(now, sizeof(now), o->ceiling_tokens);
    if (o->ceiling_at_rest_tokens != o->ceiling_tokens) {
        char tokens[32];
        ceiling_text(tokens, sizeof(tokens), o->ceiling_at_rest_tokens);
        O3_FORMAT(rest, " now, %s once the loaded models are gone", tokens);
    }
    if (o->ceiling_tokens >= 0 && pool)
        O3_FORMAT(why, " (%s ends there)", pool->name);
    else if (o->ceiling_tokens > 0)
        O3_COPY(why, " (its training ends there)");
    O3_FORMAT(line, "%s%s%s", now, rest, why);
    text_block(buf, colour, "Largest safe num_ctx", line);
    o3_buf_str(buf, "\n");
}

enum { ROW_COLUMNS = 8 };

static void row_cells(text_cell *cells, const o3_outlook *o, const o3_outlook_row *row)
{
    text_tokens(cells[0], sizeof(text_cell), row->num_ctx);
    bytes_text(cells[1], sizeof(text_cell), row->total_bytes.mid);
    rate(cells[2], sizeof(text_cell), row->full.prefill_per_s.mid);
    text_short_ms(cells[3], sizeof(text_cell), row->half.ttft_ms.mid);
    text_short_ms(cells[4], sizeof(text_cell), row->full.ttft_ms.mid);
    rate(cells[5], sizeof(text_cell), row->half.decode_per_s.mid);
    rate(cells[6], sizeof(text_cell), row->full.decode_per_s.mid);
    cells[7][0] = '\0';
    if (!row->fits)
        o3_copy(cells[7], sizeof(text_cell), "over limit");
    else if (row->spilled_frac > 0)
        o3_format(cells[7], sizeof(text_cell), "%.0f %% in RAM", row->spilled_frac * 100);
    else if (o->profile->gpu_count)
        o3_copy(cells[7], sizeof(text_cell), "on the GPU");
}

static const o3_outlook_row *row_at(const o3_outlook *o, int64_t num_ctx)
{
    for (int i = 0; i < o->row_count; i++)
        if (o->rows[i].num_ctx == num_ctx)
            return &o->rows[i];
    return NULL;
}

static void add_rows(o3_buf *buf, bool colour, const o3_outlook *o)
{
    static const char *const heads[ROW_COLUMNS] = {"num_ctx", "memory", "prefill", "TTFT half", "full",
                                                   "decode half", "full", ""};
    text_cell cells[O3_OUTLOOK_ROWS_MAX * ROW_COLUMNS];
    char tokens[32], memory[80], prefill[64], decode[64], low[32], high[32], line[512];
    for (int i = 0; i < o->row_count; i++)
        row_cells(&cells[i * ROW_COLUMNS], o, &o->rows[i]);
    text_grid(buf, colour, ROW_COLUMNS, heads, o->row_count, cells);
    const o3_outlook_row *row = row_at(o, o->estimate.setting.knobs.num_ctx);
    if (!row)
        return;
    text_tokens(tokens, sizeof(tokens), row->num_ctx);
    byte_range(memory, sizeof(memory), &row->total_bytes);
    rate_range(prefill, sizeof(prefill), &row->full.prefill_per_s);
    rate_range(decode, sizeof(decode), &row->full.decode_per_s);
    text_short_ms(low, sizeof(low), row->full.ttft_ms.low);
    text_short_ms(high, sizeof(high), row->full.ttft_ms.high);
    O3_FORMAT(line, "prefill and decode in tokens/s, half and full: of the window; 90 %% ranges at a full %s: %s; prefill "
              "%s; TTFT %s to %s; decode %s", tokens, memory, prefill, low, high, decode);
    text_wrap(buf, 0, 2, line);
    o3_buf_str(buf, "\n");
}

enum { POOL_COLUMNS = 9 };

static void pool_cells(text_cell *cells, const o3_pool_estimate *p)
{
    const double parts[] = {p->weights_bytes, p->kv_bytes, p->state_bytes, p->compute_bytes, p->output_bytes,
                            p->overhead_bytes.mid, p->total_bytes.mid};
    text_clean(cells[0], sizeof(text_cell), p->name);
    for (int i = 0; i < O3_COUNT(parts); i++)
        bytes_text(cells[1 + i], sizeof(text_cell), parts[i]);
    if (!(p->state_bytes > 0))
        cells[3][0] = '\0';
    if (p->room_bytes == INT64_MAX)
        cells[8][0] = '\0';
    else
        bytes_text(cells[8], sizeof(text_cell), p->room_bytes > 0 ? (double)p->room_bytes : 0);
}

static void add_memory(o3_buf *buf, bool colour, const o3_outlook *o)
{
    static const char *const heads[POOL_COLUMNS] = {"memory", "weights", "KV", "state", "compute", "output", "other",
                                                    "total", "room"};
    text_cell cells[O3_MEMORIES_MAX * POOL_COLUMNS];
    char tokens[32], batch[32], line[320], size[80], low[32], mid[32], high[32];
    const o3_estimate *e = &o->estimate;
    const o3_setting *s = &e->setting;
    text_tokens(tokens, sizeof(tokens), s->knobs.num_ctx);
    O3_COPY(batch, "auto");
    if (s->knobs.num_batch != O3_UNSET)
        O3_FORMAT(batch, "%d", s->knobs.num_batch);
    O3_FORMAT(line, "num_batch %s, %d slot%s, KV cache %s, flash attention %s%s", batch, s->parallel,
              s->parallel == 1 ? "" : "s", s->kv_type->name, s->flash_attention ? "on" : "off",
              o->fits ? "" : ": over the limit");
    O3_FORMAT(size, "At num_ctx %s", tokens);
    text_block(buf, colour, size, line);
    for (int i = 0; i < e->pool_count; i++)
        pool_cells(&cells[i * POOL_COLUMNS], &e->pools[i]);
    text_grid(buf, colour, POOL_COLUMNS, heads, e->pool_count, cells);
    decimal_bytes(low, sizeof(low), o->size_bytes.low);
    decimal_bytes(mid, sizeof(mid), o->size_bytes.mid);
    decimal_bytes(high, sizeof(high), o->size_bytes.high);
    O3_FORMAT(line, "`ollama ps` will say %s (%s to %s)", mid, low, high);
    text_wrap(buf, 0, 2, line);
    o3_buf_str(buf, "\n");
}

static void add_spill(o3_buf *buf, bool colour, const o3_outlook *o)
{
    char with[32], without[32], line[256];
    const o3_estimate *e = &o->estimate;
    if (!(e->spilled_frac > 0))
        return;
    rate(with, sizeof(with), e->decode_per_s.mid);
    rate(without, sizeof(without), o->on_device_decode_per_s.mid);
    O3_FORMAT(line, "%.0f %% of the layers stay in RAM: it decodes about %s/s at half of the window, with all of them on "
              "the device it would be %s/s", e->spilled_frac * 100, with, without);
    text_block(buf, colour, "Spilled", line);
}

char *o3_outlook_summary(const o3_outlook *o, bool colour)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    char line[256], part[32];
    const o3_estimate *e = &o->estimate;
    add_head(&buf, colour, o);
    add_ceiling(&buf, colour, o);
    add_rows(&buf, colour, o);
    add_memory(&buf, colour, o);
    add_spill(&buf, colour, o);
    if (e->prompt_cache_bytes_per_token > 0) {
        bytes_text(part, sizeof(part), (double)e->prompt_cache_bytes_per_token * 1000);
        O3_FORMAT(line, "grows by %s of RAM for every 1,000 tokens of new prompts, up to 8 GiB a runner "
                  "(LLAMA_ARG_CACHE_RAM of the server)", part);
        text_block(&buf, colour, "Prompt cache", line);
    }
    if (isfinite(o->optimize_s)) {
        o3_fmt_duration(part, sizeof(part), o->optimize_s);
        O3_FORMAT(line, "would take about %s", part);
        text_block(&buf, colour, "o3 optimize", line);
    }
    text_block(&buf, colour, "Where the numbers come from", e->origin);
    for (int i = 0; i < o->notes.count; i++)
        text_block(&buf, colour, "Note", o->notes.text[i]);
    return O3_TAKE(buf.data);
}
