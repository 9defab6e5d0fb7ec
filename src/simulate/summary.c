/* SPDX-License-Identifier: Apache-2.0 */
/* Runs to numbers, numbers to JSON and to a table. */
#include "o3/model.h"
#include "simulate_impl.h"

#define METRICS_MAX 32

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nearest ranks: a count of loads stays a whole number. */
static o3_spread spread(double *x, int64_t n)
{
    if (n == 0)
        return (o3_spread){NAN, NAN};
    qsort(x, (size_t)n, sizeof(*x), ascending);
    return (o3_spread){x[(n - 1) / 2], x[(int64_t)ceil(0.95 * (double)n) - 1]};
}

/* Of the member at `offset`, NaN left out; size_class -1 = all. */
static o3_spread spread_of(const sim_run *runs, int64_t count, size_t offset, int size_class)
{
    o3_auto(free) double *x = o3_alloc((size_t)count + 1, sizeof(*x));
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        double value = *(const double *)((const char *)&runs[i] + offset);
        if (runs[i].done && !isnan(value) && (size_class < 0 || runs[i].size_class == size_class))
            x[n++] = value;
    }
    return spread(x, n);
}

static double share(int64_t part, int64_t all)
{
    return all > 0 ? (double)part / (double)all : NAN;
}

static void summarise_knobs(o3_simulated *row, const sim_run *runs, int64_t count)
{
    int64_t near = 0, winners = 0, known = 0, covered = 0;
    for (int64_t i = 0; i < count; i++) {
        const sim_run *r = &runs[i];
        if (!r->done || !r->raced)
            continue;
        row->raced++;
        row->helpless += r->helpless;
        winners += r->helpless && r->false_winner;
        near += r->knob_regret <= 0.03;
        known += r->gain_known;
        covered += r->gain_covered;
    }
    row->knob_visits = spread_of(runs, count, offsetof(sim_run, knob_visits), -1);
    row->knob_regret = spread_of(runs, count, offsetof(sim_run, knob_regret), -1);
    row->knob_near_frac = share(near, row->raced);
    row->false_winners = share(winners, row->helpless);
    row->gain_coverage = share(covered, known);
}

void sim_summarise(o3_simulated *ret_row, const sim_run *runs, int64_t count)
{
    o3_simulated *row = ret_row;
    double exact = 0, room = 0;
    for (int64_t i = 0; i < count; i++) {
        const sim_run *r = &runs[i];
        row->misfits += r->misfit;
        row->misfits_broken += r->misfit_broken;
        if (!r->done)
            continue;
        row->pairs++;
        row->timed_pairs += r->timed;
        row->above_safe += r->above_safe;
        row->limits_broken += r->limit_broken;
        row->killed += r->killed;
        row->class_pairs[r->size_class]++;
        row->over_budget[r->size_class] += r->over_budget;
        if (r->timed)
            continue;
        exact += r->exact;
        room += r->room_frac;
        row->unproven += r->unproven;
    }
    summarise_knobs(row, runs, count);
    double judged = (double)(row->pairs - row->timed_pairs);
    row->exact_frac = judged > 0 ? exact / judged : NAN;
    row->room_frac = judged > 0 ? room / judged : NAN;
    row->loads = spread_of(runs, count, offsetof(sim_run, loads), -1);
    row->fills = spread_of(runs, count, offsetof(sim_run, fills), -1);
    row->iterations = spread_of(runs, count, offsetof(sim_run, iterations), -1);
    for (int c = 0; c < O3_SIMULATED_CLASSES; c++)
        row->minutes[c] = spread_of(runs, count, offsetof(sim_run, minutes), c);
    row->time_over_bound = spread_of(runs, count, offsetof(sim_run, over_bound), -1).median;
}

/* NaN has no JSON. */
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *spread_json(o3_spread s)
{
    return json_pack("{s:o, s:o}", "median", real(s.median), "p95", real(s.p95));
}

static json_t *row_json(const o3_simulated *r)
{
    json_t *minutes = json_object();
    for (int c = 0; c < O3_SIMULATED_CLASSES; c++) {
        json_t *one = spread_json(r->minutes[c]);
        json_object_set_new(one, "pairs", json_integer(r->class_pairs[c]));
        json_object_set_new(one, "over_budget", json_integer(r->over_budget[c]));
        json_object_set_new(minutes, o3_size_class_name((o3_size_class)c), one);
    }
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:{s:I, s:I, s:o, s:o, s:o}, s:o, s:{s:o}, s:{s:I, s:I}, s:o}",
                     "pairs", (json_int_t)r->pairs, "timed_pairs", (json_int_t)r->timed_pairs, "loads",
                     spread_json(r->loads), "fills", spread_json(r->fills), "iterations", spread_json(r->iterations),
                     "exact_or_one_below", real(r->exact_frac), "room", real(r->room_frac), "unproven",
                     (json_int_t)r->unproven, "above_safe", (json_int_t)r->above_safe, "limits_broken",
                     (json_int_t)r->limits_broken, "killed", (json_int_t)r->killed, "knob_regret", spread_json(r->knob_regret),
                     "false_winners", real(r->false_winners), "knobs", "raced", (json_int_t)r->raced, "helpless",
                     (json_int_t)r->helpless, "within_3_percent", real(r->knob_near_frac), "visits",
                     spread_json(r->knob_visits), "gain_coverage", real(r->gain_coverage), "minutes", minutes, "time_over_bound", "median", real(r->time_over_bound), "misfits", "pairs",
                     (json_int_t)r->misfits, "broken", (json_int_t)r->misfits_broken, "pairs_per_s",
                     real(r->pairs_per_s));
}

json_t *o3_simulation_to_json(const o3_simulation *simulation)
{
    const o3_simulate_request *r = &simulation->request;
    json_t *strategies = json_object(), *notes = json_array();
    for (int i = 0; i < simulation->count; i++)
        json_object_set_new(strategies, simulation->rows[i].strategy, row_json(&simulation->rows[i]));
    for (int i = 0; i < simulation->notes.count; i++)
        json_array_append_new(notes, json_string(simulation->notes.text[i]));
    return json_pack("{s:i, s:I, s:I, s:f, s:f, s:s, s:b, s:o, s:o}", "schema", 1, "pairs", (json_int_t)r->pairs, "seed",
                     (json_int_t)r->seed, "lying", r->lying, "noise", r->noise, "machines", r->machines, "complete", simulation->complete,
                     "strategies", strategies, "notes", notes);
}

typedef struct metric {
    const char *name;
    void (*write)(const o3_simulated *row, char *dst, size_t size);
} metric;

static void write_spread(char *dst, size_t size, o3_spread s, const char *format)
{
    char median[32] = "-", p95[32] = "-";
    if (!isnan(s.median)) {
        snprintf(median, sizeof(median), *format == 'd' ? "%.0f" : "%.1f", s.median);
        snprintf(p95, sizeof(p95), *format == 'd' ? "%.0f" : "%.1f", s.p95);
    }
    o3_format(dst, size, "%s / %s", median, p95);
}

#define SPREAD(name, member, format)                                             \
    static void name(const o3_simulated *r, char *dst, size_t size)              \
    {                                                                            \
        write_spread(dst, size, r->member, format);                              \
    }
#define COUNT(name, member)                                                      \
    static void name(const o3_simulated *r, char *dst, size_t size)              \
    {                                                                            \
        o3_format(dst, size, "%lld", (long long)r->member);                      \
    }
#define REAL(name, value, format)                                                \
    static void name(const o3_simulated *r, char *dst, size_t size)              \
    {                                                                            \
        o3_format(dst, size, format, (value));                                   \
    }
COUNT(pairs, pairs)
COUNT(timed, timed_pairs)
SPREAD(loads, loads, "d")
SPREAD(fills, fills, "d")
SPREAD(iterations, iterations, "d")
REAL(exact, 100 * r->exact_frac, "%.2f %%")
REAL(room, 100 * r->room_frac, "%.2f %%")
COUNT(unproven, unproven)
COUNT(above_safe, above_safe)
COUNT(limits_broken, limits_broken)
COUNT(killed, killed)
SPREAD(minutes_small, minutes[0], "f")
SPREAD(minutes_medium, minutes[1], "f")
SPREAD(minutes_large, minutes[2], "f")
COUNT(raced, raced)
SPREAD(knob_visits, knob_visits, "d")
REAL(near, 100 * r->knob_near_frac, "%.2f %%")
REAL(regret, 100 * r->knob_regret.p95, "%.2f %%")
REAL(false_winners, 100 * r->false_winners, "%.2f %%")
REAL(coverage, 100 * r->gain_coverage, "%.2f %%")
REAL(bound, r->time_over_bound, "%.2f")
COUNT(misfits, misfits)
COUNT(misfits_broken, misfits_broken)

static const metric metrics[] = {
    {"pairs", pairs},
    {"of them limited by time", timed},
    {"loads, median / p95", loads},
    {"full fills", fills},
    {"iterations", iterations},
    {"ceiling exact or one step below", exact},
    {"share of the ceiling proven", room},
    {"nothing proven", unproven},
    {"proven above safe", above_safe},
    {"limits broken", limits_broken},
    {"killed", killed},
    {"minutes, small, median / p95", minutes_small},
    {"minutes, medium", minutes_medium},
    {"minutes, large", minutes_large},
    {"time over its lower bound, median", bound},
    {"pairs whose knobs were raced", raced},
    {"visits of the race", knob_visits},
    {"knobs within 3 % of the best", near},
    {"what they lack, p95", regret},
    {"false winners where nothing helps", false_winners},
    {"95 % intervals that hold the gain", coverage},
    {"pairs where nothing fits", misfits},
    {"of them with harm", misfits_broken},
};

char *o3_simulation_text(const o3_simulation *simulation, bool markdown)
{
    o3_buf text = O3_BUF(65536);
    const char *between = markdown ? " | " : "  ", *begin = markdown ? "| " : "", *end = markdown ? " |\n" : "\n";
    o3_buf_printf(&text, "%s%-34s", begin, markdown ? "" : "simulated");
    for (int i = 0; i < simulation->count; i++)
        o3_buf_printf(&text, "%s%14s", between, simulation->rows[i].strategy);
    o3_buf_str(&text, end);
    for (int i = -1; markdown && i < simulation->count; i++)
        o3_buf_str(&text, i < 0 ? "|---" : "|---:");
    if (markdown)
        o3_buf_str(&text, "|\n");
    for (int m = 0; m < O3_COUNT(metrics); m++) {
        o3_buf_printf(&text, "%s%-34s", begin, metrics[m].name);
        for (int i = 0; i < simulation->count; i++) {
            char cell[64];
            metrics[m].write(&simulation->rows[i], cell, sizeof(cell));
            o3_buf_printf(&text, "%s%14s", between, cell);
        }
        o3_buf_str(&text, end);
    }
    for (int i = 0; i < simulation->notes.count && !markdown; i++)
        o3_buf_printf(&text, "%s\n", simulation->notes.text[i]);
    return text.data ? text.data : o3_strdup("");
}
