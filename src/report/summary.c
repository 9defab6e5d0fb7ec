/* SPDX-License-Identifier: Apache-2.0 */
/* The block that a run ends with: what, the table, what changed, what to watch, what next. Losses read as gains do. */
#include "text.h"

#define NOTES_SHOWN 5
#define CHANGE_MAX 440

static void add_title(o3_buf *buf, bool colour, const o3_result *result)
{
    char model[O3_NAME_MAX], facts[160] = "", wall[32];
    char title[O3_NAME_MAX + 40];
    const o3_cost *cost = &result->cost;
    text_clean(model, sizeof(model), result->model);
    O3_FORMAT(title, "%s on this machine", model);
    if (result->known && strlen(result->finished_at) >= 10) {
        O3_FORMAT(facts, "measured %.10s", result->finished_at);
    } else if (isfinite(cost->wall_s)) {
        o3_fmt_duration(wall, sizeof(wall), cost->wall_s);
        O3_FORMAT(facts, "%s · %d load%s", wall, cost->loads, cost->loads == 1 ? "" : "s");
        if (isfinite(cost->lower_bound_s) && cost->lower_bound_s > 0 && result->complete)
            O3_FORMAT(facts, "%s · %d load%s · %.1f x the lower bound", wall, cost->loads, cost->loads == 1 ? "" : "s",
                      cost->wall_s / cost->lower_bound_s);
    }
    int pad = TEXT_WIDTH - text_width(title) - text_width(facts);
    text_styled(buf, colour, TEXT_BOLD, title);
    if (*facts) {
        o3_buf_printf(buf, pad >= 2 ? "%*s" : "\n%*s", pad >= 2 ? pad : TEXT_WIDTH - text_width(facts), "");
        text_styled(buf, colour, TEXT_DIM, facts);
    }
    o3_buf_str(buf, "\n");
    if (!result->complete)
        text_block(buf, colour, "Not complete", "the best so far; what is missing is said below");
    o3_buf_str(buf, "\n");
}

static const char *times(int n, char *dst, size_t size)
{
    if (n == 1 || n == 2)
        return n == 1 ? "once" : "twice";
    o3_format(dst, size, "%d times", n);
    return dst;
}

/* "; full it decodes 21.3 tok/s (floor 20)": only where a floor was asked for. */
static void floor_text(char *dst, size_t size, const o3_result *result)
{
    const o3_ceiling *c = &result->ceiling;
    size_t len;
    dst[0] = '\0';
    if (result->floor.min_decode_per_s > 0 && isfinite(c->full_decode_per_s))
        o3_format(dst, size, "; full it decodes %.1f tok/s (floor %g)", c->full_decode_per_s, result->floor.min_decode_per_s);
    len = strlen(dst);
    if (result->floor.max_ttft_s > 0 && isfinite(c->full_ttft_s))
        o3_format(dst + len, size - len, "; a full prompt takes %.3g s to the first token (at most %g)", c->full_ttft_s,
                  result->floor.max_ttft_s);
}

static void add_ceiling(o3_buf *buf, bool colour, const o3_result *result)
{
    const o3_ceiling *c = &result->ceiling;
    char proven[32], filled[32], next[32], often[24], line[O3_TEXT_MAX + 400], tail[O3_TEXT_MAX + 64] = "", used[320] = "";
    text_tokens(proven, sizeof(proven), c->proven_tokens);
    text_tokens(filled, sizeof(filled), c->filled_tokens);
    text_tokens(next, sizeof(next), c->next_num_ctx);
    if (c->next_num_ctx > 0 && *c->next_reason)
        O3_FORMAT(tail, "; next step %s: %s", next, c->next_reason);
    else if (*c->next_reason)
        O3_FORMAT(tail, "; %s", c->next_reason);
    if (isfinite(c->used_frac))
        O3_FORMAT(used, "; %.0f %% of what is safe of %s in use", 100 * c->used_frac, c->used_pool);
    size_t used_len = strlen(used);
    floor_text(used + used_len, sizeof(used) - used_len, result);
    if (c->proven_tokens > 0 && c->filled_tokens > 0)
        O3_FORMAT(line, "num_ctx %s proven: a prompt of %s tokens evaluated whole, %s%s%s", proven, filled,
                  times(c->proofs, often, sizeof(often)), used, tail);
    else if (c->proven_tokens > 0)
        O3_FORMAT(line, "num_ctx %s proven%s", proven, tail);
    else if (c->allocated_tokens > 0) {
        text_tokens(proven, sizeof(proven), c->allocated_tokens);
        O3_FORMAT(line, "nothing proven; num_ctx %s loaded as asked, which fills nothing%s", proven, tail);
    } else
        O3_FORMAT(line, "nothing proven yet%s", tail);
    text_block(buf, colour, "Ceiling", line);
}

static void add_race(o3_buf *buf, bool colour, const o3_result *result)
{
    const o3_race *r = &result->race;
    char line[O3_TEXT_MAX + 256], knobs[200];
    if (!*r->why)
        return;
    o3_knobs_text(&r->knobs, NULL, knobs, sizeof(knobs));
    if (r->verdict == O3_RACE_NOT_RUN)
        O3_COPY(line, r->why);
    else
        O3_FORMAT(line, "%s (%d visits, %d candidates, score decode^%.2f x prefill^%.2f); presets build on %s", r->why, r->visits,
                  r->candidates, r->decode_weight, 1 - r->decode_weight, *knobs ? knobs : "the server's own choice");
    text_block(buf, colour, "Knobs", line);
}

/* Where a rate was taken: at one depth, at one share of each window, or row by row; "" if nowhere. */
static void depths(char *dst, size_t size, const o3_result *result, size_t offset)
{
    static const struct {
        double share;
        const char *words;
    } shares[] = {{1, "the whole window"}, {0.5, "half the window"}, {0.25, "a quarter of the window"}};
    bool fits[O3_COUNT(shares)] = {true, true, true}, same = true;
    int64_t first = -1;
    char list[256] = "", tokens[32];
    for (int i = 0; i <= result->preset_count; i++) {
        const o3_preset *row = i < result->preset_count ? &result->presets[i] : &result->baseline;
        const o3_measure *m = (const o3_measure *)(const void *)((const char *)row + offset);
        if (!text_known(m) || m->depth_tokens < 0)
            continue;
        for (int k = 0; k < O3_COUNT(shares); k++) {
            double ratio = (double)m->depth_tokens / row->knobs.num_ctx / shares[k].share;
            fits[k] = fits[k] && row->knobs.num_ctx > 0 && ratio > 0.85 && ratio < 1.15;
        }
        size_t len = strlen(list);
        text_tokens(tokens, sizeof(tokens), m->depth_tokens);
        o3_format(list + len, sizeof(list) - len, "%s%s", first < 0 ? "" : " | ", tokens);
        same = same && (first < 0 || first == m->depth_tokens);
        first = first < 0 ? m->depth_tokens : first;
    }
    dst[0] = '\0';
    if (first < 0)
        return;
    text_tokens(tokens, sizeof(tokens), first);
    o3_format(dst, size, "%s tokens", same ? tokens : list);
    for (int k = 0; k < O3_COUNT(shares) && !same; k++)
        if (fits[k])
            o3_copy(dst, size, shares[k].words);
}

static void add_legend(o3_buf *buf, const o3_result *result)
{
    char prefill[300], decode[300], ttft[300], line[1000] = "";
    bool measured = false;
    depths(prefill, sizeof(prefill), result, offsetof(o3_preset, prefill_per_s));
    depths(decode, sizeof(decode), result, offsetof(o3_preset, decode_per_s));
    depths(ttft, sizeof(ttft), result, offsetof(o3_preset, ttft_ms));
    bool together = *prefill && !strcmp(prefill, ttft);
    const struct {
        const char *name, *where;
    } parts[] = {
        {together ? "prefill and TTFT" : "prefill", prefill}, {"decode", decode}, {"TTFT", together ? "" : ttft}};
    for (int i = 0; i < O3_COUNT(parts); i++) {
        size_t len = strlen(line);
        if (*parts[i].where)
            o3_format(line + len, sizeof(line) - len, "%s at %s; ", parts[i].name, parts[i].where);
    }
    if (!*line)
        return;
    for (int i = 0; i < result->preset_count; i++)
        measured = measured || result->presets[i].measured;
    size_t len = strlen(line);
    o3_format(line + len, sizeof(line) - len, "tokens/s%s", measured ? ", ± is the 95 % interval" : ", predicted");
    text_wrap(buf, 0, 2, line);
}

static void window_words(char *dst, size_t size, const o3_preset *preset, const o3_preset *baseline)
{
    double mine = preset->knobs.num_ctx, theirs = baseline->knobs.num_ctx;
    if (preset->knobs.num_ctx <= 0 || baseline->knobs.num_ctx <= 0)
        o3_copy(dst, size, "window of the default unknown");
    else if (preset->knobs.num_ctx == baseline->knobs.num_ctx)
        o3_copy(dst, size, "same window");
    else if (mine > theirs)
        o3_format(dst, size, "window x%.3g", mine / theirs);
    else
        o3_format(dst, size, "smaller window (x%.2f)", mine / theirs);
}

/* The baseline's knobs are those in force; what a preset leaves unset it shares with the default. */
static bool same_settings(const o3_knobs *preset, const o3_knobs *in_force)
{
    return preset->num_ctx > 0 && o3_knobs_hold(preset, in_force);
}

static bool same_but_window(const o3_knobs *preset, const o3_knobs *in_force)
{
    o3_knobs others = *preset;
    others.num_ctx = O3_UNSET;
    return o3_knobs_hold(&others, in_force);
}

static void speed_words(char *dst, size_t size, const o3_preset *preset, const o3_preset *baseline)
{
    const o3_measure *a = &preset->decode_equal_per_s, *b = &baseline->decode_equal_per_s;
    char mine[48], theirs[48], depth[32];
    double percent;
    text_verdict verdict = text_compare(a, b, &percent);
    text_rate(mine, sizeof(mine), a);
    text_rate(theirs, sizeof(theirs), b);
    text_tokens(depth, sizeof(depth), a->depth_tokens);
    if (same_settings(&preset->knobs, &baseline->knobs))
        o3_copy(dst, size, "these are the default's own settings here: nothing changes");
    else if (verdict == TEXT_UNKNOWN)
        o3_copy(dst, size, same_but_window(&preset->knobs, &baseline->knobs) ? "otherwise the default's own settings"
                                                                             : "speed not compared at equal depth");
    else if (verdict == TEXT_SAME)
        o3_format(dst, size, "no difference in decode shown at %s tokens (%s against %s)", depth, mine, theirs);
    else
        o3_format(dst, size, "decodes %.*f %% %s at %s tokens (%s against %s)", fabs(percent) < 2.95, fabs(percent),
                  verdict == TEXT_FASTER ? "faster" : "slower", depth, mine, theirs);
}

/* What a deeper window costs, and memory: said even where it is a loss. */
static void cost_words(char *dst, size_t size, const o3_preset *preset, const o3_preset *baseline)
{
    char depth[32], rate[48], bytes[32];
    int64_t mine = text_peak(&preset->peaks), theirs = text_peak(&baseline->peaks);
    dst[0] = '\0';
    if (preset->decode_per_s.n > 0 && preset->knobs.num_ctx > baseline->knobs.num_ctx) {
        text_tokens(depth, sizeof(depth), preset->decode_per_s.depth_tokens);
        text_rate(rate, sizeof(rate), &preset->decode_per_s);
        o3_format(dst, size, "; at %s tokens it decodes %s/s", depth, rate);
    }
    int64_t more = mine - theirs;
    if (mine >= 0 && theirs >= 0 && llabs((long long)more) >= (INT64_C(1) << 20)) {
        size_t len = strlen(dst);
        o3_fmt_bytes(bytes, sizeof(bytes), (double)llabs((long long)more));
        o3_format(dst + len, size - len, "; %s %s memory", bytes, more > 0 ? "more" : "less");
    }
}

static void change_line(char *dst, size_t size, const o3_preset *preset, const o3_preset *baseline)
{
    char window[64], speed[200], cost[160];
    if (!preset->measured) {
        o3_copy(dst, size, "predicted only: nothing to compare yet");
        return;
    }
    window_words(window, sizeof(window), preset, baseline);
    if (!baseline->measured) {
        o3_format(dst, size, "%s; the default's speed was not measured in this run", window);
        return;
    }
    speed_words(speed, sizeof(speed), preset, baseline);
    cost_words(cost, sizeof(cost), preset, baseline);
    o3_format(dst, size, "%s; %s%s", window, speed, cost);
}

/* Presets with the same words share a line; "" is left out. */
static void add_grouped(o3_buf *buf, const o3_result *result, char (*lines)[CHANGE_MAX])
{
    for (int i = 0; i < result->preset_count; i++) {
        char names[512], line[CHANGE_MAX + 512];
        if (!*lines[i])
            continue;
        O3_COPY(names, result->presets[i].name);
        for (int j = i + 1; j < result->preset_count; j++) {
            if (strcmp(lines[i], lines[j]))
                continue;
            size_t len = strlen(names);
            o3_format(names + len, sizeof(names) - len, ", %s", result->presets[j].name);
            lines[j][0] = '\0';
        }
        O3_FORMAT(line, "%s: %s", names, lines[i]);
        o3_buf_str(buf, "  ");
        text_wrap(buf, 2, 4, line);
    }
}

static void add_changes(o3_buf *buf, bool colour, const o3_result *result)
{
    char lines[O3_PRESETS_MAX][CHANGE_MAX];
    if (!result->preset_count)
        return;
    if (!result->baseline.measured && !(result->baseline.knobs.num_ctx > 0)) {
        text_block(buf, colour, "What changed for you", "not known: Ollama's defaults were not measured in this run");
        return;
    }
    text_styled(buf, colour, TEXT_BOLD, "What changed for you");
    o3_buf_str(buf, " (against Ollama's defaults):\n");
    for (int i = 0; i < result->preset_count; i++)
        change_line(lines[i], sizeof(lines[i]), &result->presets[i], &result->baseline);
    add_grouped(buf, result, lines);
}

static void add_targets(o3_buf *buf, bool colour, const o3_result *result)
{
    char lines[O3_PRESETS_MAX][CHANGE_MAX];
    bool any = false;
    for (int i = 0; i < result->preset_count; i++) {
        O3_COPY(lines[i], result->presets[i].verdict);
        any = any || *lines[i];
    }
    if (!any)
        return;
    text_styled(buf, colour, TEXT_BOLD, "Targets");
    o3_buf_str(buf, ":\n");
    add_grouped(buf, result, lines);
}

static void add_watch(o3_buf *buf, bool colour, const o3_result *result, bool verbose)
{
    int shown = verbose ? result->notes.count : result->notes.count < NOTES_SHOWN ? result->notes.count : NOTES_SHOWN;
    bool first = true;
    for (int i = 0; i < shown; i++, first = false) {
        if (first)
            text_styled(buf, colour, TEXT_YELLOW, "Watch out");
        o3_buf_str(buf, first ? ": " : "  - ");
        text_wrap(buf, first ? 11 : 4, first ? 2 : 4, result->notes.text[i]);
    }
    if (shown < result->notes.count)
        o3_buf_printf(buf, "  - %d more with --verbose\n", result->notes.count - shown);
}

static void add_next(o3_buf *buf, bool colour, const o3_result *result)
{
    char line[3 * O3_NAME_MAX];
    const o3_preset *first = result->preset_count ? &result->presets[0] : NULL;
    if (first && first->measured)
        O3_FORMAT(line, "o3 apply %s %s · o3 export %s modelfile%s", result->model, first->name, result->model,
                  result->complete ? "" : " · the same command goes on from here");
    else
        O3_FORMAT(line, "o3 optimize %s measures and proves", result->model);
    text_block(buf, colour, "Next", line);
}

static void add_details(o3_buf *buf, bool colour, const o3_result *result)
{
    for (int i = 0; i <= result->preset_count; i++) {
        const o3_preset *row = i < result->preset_count ? &result->presets[i] : &result->baseline;
        if (i == result->preset_count && !row->measured)
            break;
        o3_auto(free) char *detail = o3_preset_detail(row, colour);
        o3_buf_str(buf, "\n");
        o3_buf_str(buf, detail);
    }
}

char *o3_result_summary(const o3_result *result, bool colour, bool verbose)
{
    o3_buf buf = O3_BUF(TEXT_MAX);
    add_title(&buf, colour, result);
    o3_auto(free) char *table = o3_result_table(result, colour);
    o3_buf_str(&buf, table);
    add_legend(&buf, result);
    if (*result->weights)
        text_block(&buf, false, "scores", result->weights);
    o3_buf_str(&buf, "\n");
    add_ceiling(&buf, colour, result);
    add_race(&buf, colour, result);
    add_changes(&buf, colour, result);
    add_targets(&buf, colour, result);
    text_servers(&buf, colour, result);
    add_watch(&buf, colour, result, verbose);
    add_next(&buf, colour, result);
    if (verbose)
        add_details(&buf, colour, result);
    return O3_TAKE(buf.data);
}
