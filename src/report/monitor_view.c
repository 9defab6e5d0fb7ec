/* SPDX-License-Identifier: Apache-2.0 */
/* A look of the monitor for people: a block of bars, and one line. */
#include "text.h"

#define LABEL 16
#define BAR 20
#define TREND 14

/* "████▌░░░┃░░": what is used, and where the limit stands. frac or mark NaN: unknown. */
static void add_bar(o3_buf *buf, bool colour, double frac, double mark)
{
    int eighths = isfinite(frac) ? (int)(fmin(fmax(frac, 0), 1) * BAR * 8 + 0.5) : 0;
    int at = isfinite(mark) && mark < 1 ? (int)(fmax(mark, 0) * BAR) : -1;
    static const char *const parts[] = {"░", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const char *style = !isfinite(frac) ? TEXT_DIM : isfinite(mark) && frac >= mark ? TEXT_RED : TEXT_GREEN;
    char run[BAR * 4 + 1] = "";
    const char *run_style = style;
    for (int i = 0; i < BAR; i++) {
        int left = eighths - 8 * i;
        const char *next = i == at ? TEXT_YELLOW : left > 0 ? style : TEXT_DIM;
        if (next != run_style) {
            text_styled(buf, colour, run_style, run);
            run[0] = '\0';
            run_style = next;
        }
        o3_format(run + strlen(run), sizeof(run) - strlen(run), "%s", i == at ? "┃" : left >= 8 ? "█" : parts[left > 0 ? left : 0]);
    }
    text_styled(buf, colour, run_style, run);
}

/* The last values, oldest first; a gap where one is unknown. */
static void add_trend(o3_buf *buf, const o3_frame *f, double (*value)(const o3_frame *, const o3_sight *, int), int index)
{
    static const char *const steps[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    int count = f->past_count < TREND ? f->past_count : TREND;
    o3_buf_printf(buf, " %*s", TREND - count, "");
    for (int i = f->past_count - count; i < f->past_count; i++) {
        double frac = value(f, &f->past[i], index);
        o3_buf_str(buf, isfinite(frac) ? steps[(int)(fmin(fmax(frac, 0), 1) * 7.999)] : " ");
    }
    o3_buf_str(buf, " ");
}

static double pool_frac(const o3_frame *f, const o3_sight *s, int i)
{
    const o3_pool *pool = &f->profile->pools[i];
    return s->pool_bytes[i] < 0 || pool->total_bytes <= 0 ? (double)NAN
                                                          : (double)s->pool_bytes[i] / (double)pool->total_bytes;
}

static double busy_frac(const o3_frame *f, const o3_sight *s, int i)
{
    (void)f;
    (void)i;
    return s->busy_frac;
}

static double gpu_frac(const o3_frame *f, const o3_sight *s, int i)
{
    (void)f;
    return s->gpus[i].busy_frac;
}

/* A long name keeps its end. */
static void add_label(o3_buf *buf, bool colour, const char *name)
{
    char clean[160], label[64];
    text_clean(clean, sizeof(clean), name);
    const char *p = clean;
    while (text_width(p) >= LABEL)
        for (p++; (*p & 0xc0) == 0x80; p++)
            ;
    O3_FORMAT(label, "%s%*s", p, LABEL - text_width(p), "");
    text_styled(buf, colour, TEXT_BOLD, label);
}

static void percent(char *dst, size_t size, double frac)
{
    o3_format(dst, size, isfinite(frac) ? "%.0f %%" : "unknown", 100 * frac);
}

static void degrees(char *dst, size_t size, double celsius, const char *missing)
{
    if (isfinite(celsius))
        o3_format(dst, size, "%.0f °C", celsius);
    else
        o3_copy(dst, size, missing);
}

static void view_pools(o3_buf *buf, bool colour, const o3_frame *f)
{
    char used[32], total[32], share[32];
    for (int i = 0; i < f->profile->pool_count; i++) {
        const o3_pool *pool = &f->profile->pools[i];
        double frac = pool_frac(f, f->sight, i);
        o3_fmt_bytes(used, sizeof(used), (double)f->sight->pool_bytes[i]);
        o3_fmt_bytes(total, sizeof(total), (double)pool->total_bytes);
        percent(share, sizeof(share), frac);
        add_label(buf, colour, pool->name);
        add_bar(buf, colour, frac, pool->limit_frac);
        add_trend(buf, f, pool_frac, i);
        o3_buf_printf(buf, "%s of %s, %s\n", used, total, share);
    }
}

static void view_cpu(o3_buf *buf, bool colour, const o3_frame *f)
{
    const o3_sight *s = f->sight;
    char busy[32], waits[32], memory[32], full[32], heat[64], power[48] = "", throttled[64] = "";
    percent(busy, sizeof(busy), s->busy_frac);
    percent(waits, sizeof(waits), s->psi_cpu_some_frac);
    percent(memory, sizeof(memory), s->psi_memory_some_frac);
    percent(full, sizeof(full), s->psi_memory_full_frac);
    degrees(heat, sizeof(heat), s->temperature_c, "no temperature sensor");
    if (isfinite(s->power_w))
        O3_FORMAT(power, " · %.1f W", s->power_w);
    if (s->throttle_events >= 0)
        O3_FORMAT(throttled, " · throttled %lld times", (long long)s->throttle_events);
    add_label(buf, colour, "CPU");
    add_bar(buf, colour, s->busy_frac, NAN);
    add_trend(buf, f, busy_frac, 0);
    o3_buf_printf(buf, "%s busy\n", busy);
    add_label(buf, colour, "waits");
    o3_buf_printf(buf, "for a CPU %s · for memory %s (all of them %s)\n", waits, memory, full);
    add_label(buf, colour, "sensors");
    o3_buf_printf(buf, "CPU %s", heat);
    if (isfinite(s->temperature_c) && f->max_temperature_c > 0)
        o3_buf_printf(buf, " (limit %.4g °C)", f->max_temperature_c);
    o3_buf_printf(buf, "%s%s\n", power, throttled);
}

static void view_gpus(o3_buf *buf, bool colour, const o3_frame *f)
{
    char busy[32], heat[64];
    for (int i = 0; i < f->profile->gpu_count; i++) {
        const o3_gpu *gpu = &f->profile->gpus[i];
        const o3_gpu_sight *s = &f->sight->gpus[i];
        percent(busy, sizeof(busy), s->busy_frac);
        degrees(heat, sizeof(heat), s->temperature_c, "? °C");
        add_label(buf, colour, *gpu->pci ? gpu->pci : gpu->name);
        add_bar(buf, colour, s->busy_frac, NAN);
        add_trend(buf, f, gpu_frac, i);
        o3_buf_printf(buf, "%s, %s", busy, heat);
        if (isfinite(s->power_w))
            o3_buf_printf(buf, ", %.0f W", s->power_w);
        o3_buf_str(buf, s->throttled > 0 ? ", throttled\n" : "\n");
    }
}

static void view_models(o3_buf *buf, bool colour, const o3_frame *f)
{
    char name[128], anon[32], file[32], size[32];
    for (int i = 0; i < f->model_count; i++) {
        text_clean(name, sizeof(name), f->models[i].name);
        o3_fmt_bytes(size, sizeof(size), (double)f->models[i].size_bytes);
        add_label(buf, colour, i ? "" : "model");
        o3_buf_printf(buf, "%s, %s", name, size);
        if (f->models[i].num_ctx >= 0)
            o3_buf_printf(buf, ", num_ctx %lld", (long long)f->models[i].num_ctx);
        o3_buf_str(buf, "\n");
    }
    if (!f->model_count) {
        add_label(buf, colour, "model");
        o3_buf_printf(buf, "%s\n", f->server ? "none is loaded" : "unknown: no server answers");
    }
    if (f->runner_pid < 0)
        return;
    o3_fmt_bytes(anon, sizeof(anon), (double)f->sight->rss_anon_bytes);
    o3_fmt_bytes(file, sizeof(file), (double)f->sight->rss_file_bytes);
    add_label(buf, colour, "runner");
    o3_buf_printf(buf, "pid %d · own memory %s · of files %s\n", f->runner_pid, anon, file);
}

char *o3_frame_view(const o3_frame *frame, bool colour)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    view_pools(&buf, colour, frame);
    view_cpu(&buf, colour, frame);
    view_gpus(&buf, colour, frame);
    view_models(&buf, colour, frame);
    return O3_TAKE(buf.data);
}

/* "ram 6.2 GiB 26 %, cpu 52 %, ..." */
char *o3_frame_line(const o3_frame *f)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    char text[64], share[32];
    for (int i = 0; i < f->profile->pool_count; i++) {
        text_clean(text, sizeof(text), f->profile->pools[i].name);
        o3_buf_printf(&buf, "%s%s ", i ? ", " : "", text);
        o3_fmt_bytes(text, sizeof(text), (double)f->sight->pool_bytes[i]);
        percent(share, sizeof(share), pool_frac(f, f->sight, i));
        o3_buf_printf(&buf, "%s (%s)", text, share);
    }
    percent(share, sizeof(share), f->sight->busy_frac);
    o3_buf_printf(&buf, ", CPU %s", share);
    percent(share, sizeof(share), f->sight->psi_cpu_some_frac);
    degrees(text, sizeof(text), f->sight->temperature_c, "");
    o3_buf_printf(&buf, ", waits %s%s%s", share, *text ? ", " : "", text);
    for (int i = 0; i < f->profile->gpu_count; i++) {
        percent(share, sizeof(share), f->sight->gpus[i].busy_frac);
        degrees(text, sizeof(text), f->sight->gpus[i].temperature_c, "? °C");
        o3_buf_printf(&buf, ", GPU %d %s %s", i, share, text);
    }
    if (f->runner_pid >= 0) {
        o3_fmt_bytes(text, sizeof(text), (double)f->sight->rss_anon_bytes);
        o3_buf_printf(&buf, ", runner %s", text);
    }
    o3_buf_str(&buf, "\n");
    return O3_TAKE(buf.data);
}
