/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that is known of one preset, a line each. */
#include "text.h"

#define LABEL 12

static void add_line(o3_buf *buf, const char *label, const char *text)
{
    int width = text_width(label);
    o3_buf_printf(buf, "  %s%*s", label, width < LABEL ? LABEL - width : 1, "");
    text_wrap(buf, 2 + LABEL, 2 + LABEL, text);
}

static void add_measure(o3_buf *buf, const char *label, const o3_measure *m, bool time)
{
    char value[64], depth[32] = "", tokens[32], spread[160] = "";
    char line[320], half[32] = "";
    if (!text_known(m))
        return;
    if (time)
        text_ttft(value, sizeof(value), m);
    else
        text_rate(value, sizeof(value), m);
    text_tokens(tokens, sizeof(tokens), m->depth_tokens);
    if (m->depth_tokens >= 0)
        O3_FORMAT(depth, " at %s tokens", tokens);
    if (m->n == 0) {
        O3_COPY(spread, "; predicted");
    } else {
        char cv[32] = "CV unknown";
        if (isfinite(m->cv))
            O3_FORMAT(cv, "CV %.1f %%", m->cv * 100);
        O3_FORMAT(spread, "; n %d, %s, %d outlier%s removed", m->n, cv, m->removed, m->removed == 1 ? "" : "s");
        if (time && isfinite(m->low) && isfinite(m->high))
            text_short_ms(half, sizeof(half), (m->high - m->low) / 2);
    }
    O3_FORMAT(line, "%s%s%s%s%s%s", value, time ? "" : " tokens/s", *half ? " ± " : "", half, depth, spread);
    add_line(buf, label, line);
}

static void add_knobs(o3_buf *buf, const o3_knobs *knobs)
{
    char line[256] = "";
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        char value[32];
        size_t len = strlen(line);
        text_knob(value, sizeof(value), knobs, field);
        o3_format(line + len, sizeof(line) - len, "%s%s %s", len ? " · " : "", field->name, value);
    }
    add_line(buf, "knobs", line);
}

static void add_score(o3_buf *buf, const o3_score *s)
{
    const struct {
        const char *name;
        double weight, part;
    } parts[] = {{"context", s->w_context, s->context},
                 {"throughput", s->w_throughput, s->throughput},
                 {"response", s->w_response, s->response}};
    char line[256];
    if (!isfinite(s->total))
        return;
    O3_FORMAT(line, "%.3f =", s->total);
    for (int i = 0; i < O3_COUNT(parts); i++) {
        size_t len = strlen(line);
        char part[32] = "unknown";
        if (isfinite(parts[i].part))
            O3_FORMAT(part, "%.2f", parts[i].part);
        o3_format(line + len, sizeof(line) - len, "%s %.2f x %s %s", i ? " +" : "", parts[i].weight, parts[i].name,
                  part);
    }
    add_line(buf, "score", line);
}

static void add_peaks(o3_buf *buf, const o3_peaks *peaks)
{
    char line[256], bytes[32], part[32], runner[80];
    for (int i = 0; i < peaks->count; i++) {
        const o3_peak *peak = &peaks->pools[i];
        o3_fmt_bytes(bytes, sizeof(bytes), (double)peak->bytes);
        o3_fmt_bytes(part, sizeof(part), (double)peak->runner_bytes);
        runner[0] = '\0';
        if (peak->runner_bytes >= 0)
            O3_FORMAT(runner, ", %s of it the model's runner", part);
        O3_FORMAT(line, "%s: %s used%s", peak->pool, bytes, runner);
        add_line(buf, i ? "" : "peaks", line);
    }
    if (isfinite(peaks->temperature_c)) {
        O3_FORMAT(line, "%.0f °C", peaks->temperature_c);
        add_line(buf, "hottest", line);
    }
    if (isfinite(peaks->cpu_frac)) {
        O3_FORMAT(line, "%.0f %% of all cores over one second", peaks->cpu_frac * 100);
        add_line(buf, "CPU peak", line);
    }
}

char *o3_preset_detail(const o3_preset *preset, bool colour)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    char name[64], line[160];
    bool baseline = !*preset->name || !strcmp(preset->name, "ollama_default");
    text_clean(name, sizeof(name), baseline ? "Ollama default" : preset->name);
    text_styled(&buf, colour, TEXT_BOLD, name);
    o3_buf_printf(&buf, "  %s\n", text_state(preset));
    if (*preset->description)
        add_line(&buf, "for", preset->description);
    add_knobs(&buf, &preset->knobs);
    add_measure(&buf, "decode", &preset->decode_per_s, false);
    add_measure(&buf, "equal depth", &preset->decode_equal_per_s, false);
    add_measure(&buf, "prefill", &preset->prefill_per_s, false);
    add_measure(&buf, "TTFT", &preset->ttft_ms, true);
    add_score(&buf, &preset->score);
    if (preset->measured && isfinite(preset->success_frac)) {
        O3_FORMAT(line, "%.0f %% of the samples went well (95 %% interval %.0f to %.0f %%)",
                  preset->success_frac * 100, preset->success_low * 100, preset->success_high * 100);
        add_line(&buf, "success", line);
    }
    add_peaks(&buf, &preset->peaks);
    if (*preset->verdict)
        add_line(&buf, "targets", preset->verdict);
    return O3_TAKE(buf.data);
}
