/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions held against what was measured afterwards. */
#include "fields.h"
#include "stats/stats.h"
#include "text.h"

enum { COLUMNS = 7 };

typedef struct group {
    const char *quantity;
    bool learned;
    int count, inside;
    double *errors; /* (predicted - measured) / measured */
} group;

static bool usable(const o3_forecast *f)
{
    return f->measured > 0 && isfinite(f->measured) && isfinite(f->predicted.low) && isfinite(f->predicted.mid) &&
           isfinite(f->predicted.high);
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int by_size(const void *left, const void *right)
{
    double a = fabs(*(const double *)left), b = fabs(*(const double *)right);
    return (a > b) - (a < b);
}

/* Nearest rank of a sorted list. */
static double ranked(const double *sorted, int n, double p)
{
    int at = (int)ceil(p * n) - 1;
    return sorted[at < 0 ? 0 : at];
}

static o3_accuracy_row row_of(group *g)
{
    o3_accuracy_row row = {.learned = g->learned, .count = g->count, .inside_frac = (double)g->inside / g->count};
    O3_COPY(row.quantity, g->quantity);
    qsort(g->errors, (size_t)g->count, sizeof(double), by_value);
    row.bias_frac = ranked(g->errors, g->count, 0.5);
    qsort(g->errors, (size_t)g->count, sizeof(double), by_size);
    row.median_frac = fabs(ranked(g->errors, g->count, 0.5));
    row.p95_frac = fabs(ranked(g->errors, g->count, 0.95));
    row.worst_frac = g->errors[g->count - 1];
    stats_wilson(g->inside, g->count, &row.inside_low, &row.inside_high);
    return row;
}

/* The group of one quantity; count 0 if there is none. */
static group collect(const o3_forecast *forecasts, int count, const char *quantity, bool learned, double *errors)
{
    group g = {.quantity = quantity, .learned = learned, .errors = errors};
    for (int i = 0; i < count; i++) {
        const o3_forecast *f = &forecasts[i];
        if (!usable(f) || strcmp(f->quantity, quantity) || (f->learned_from > 0) != learned)
            continue;
        errors[g.count++] = (f->predicted.mid - f->measured) / f->measured;
        g.inside += f->measured >= f->predicted.low && f->measured <= f->predicted.high;
    }
    return g;
}

static bool listed(const o3_accuracy *a, const char *quantity, bool learned)
{
    for (int i = 0; i < a->count; i++)
        if (a->rows[i].learned == learned && !strcmp(a->rows[i].quantity, quantity))
            return true;
    return false;
}

void o3_accuracy_of(o3_accuracy *ret_accuracy, const o3_forecast *forecasts, int count)
{
    o3_auto(free) double *errors = o3_alloc((size_t)count + 1, sizeof(*errors));
    *ret_accuracy = (o3_accuracy){0};
    for (int learned = 0; learned < 2; learned++) {
        for (int i = 0; i < count && ret_accuracy->count < O3_ACCURACY_MAX; i++) {
            if (!usable(&forecasts[i]) || listed(ret_accuracy, forecasts[i].quantity, learned))
                continue;
            group g = collect(forecasts, count, forecasts[i].quantity, learned, errors);
            if (g.count)
                ret_accuracy->rows[ret_accuracy->count++] = row_of(&g);
        }
    }
}

json_t *o3_accuracy_to_json(const o3_accuracy *accuracy)
{
    json_t *list = json_array();
    for (int i = 0; i < accuracy->count; i++) {
        const o3_accuracy_row *r = &accuracy->rows[i];
        json_array_append_new(list, json_pack("{s:o, s:b, s:i, s:{s:f, s:f, s:f, s:f}, s:{s:f, s:f, s:f}}", "quantity",
                                              fields_text(r->quantity), "learned", (int)r->learned, "count", r->count,
                                              "error_frac", "median", r->median_frac, "p95", r->p95_frac, "worst",
                                              r->worst_frac, "bias", r->bias_frac, "inside", "frac", r->inside_frac,
                                              "low", r->inside_low, "high", r->inside_high));
    }
    return json_pack("{s:i, s:f, s:o}", "schema", O3_SCHEMA, "interval_frac", 0.9, "quantities", list);
}

static void percent(text_cell cell, double frac, bool sign)
{
    o3_format(cell, sizeof(text_cell), sign ? "%+.1f %%" : "%.1f %%", frac * 100);
}

char *o3_accuracy_table(const o3_accuracy *accuracy, bool colour)
{
    static const char *const heads[COLUMNS] = {"quantity", "n", "median", "p95", "worst", "bias", "in 90 % range"};
    text_cell cells[O3_ACCURACY_MAX * COLUMNS];
    o3_buf buf = O3_BUF(TEXT_MAX);
    for (int i = 0; i < accuracy->count; i++) {
        const o3_accuracy_row *r = &accuracy->rows[i];
        text_cell *c = &cells[i * COLUMNS];
        o3_format(c[0], sizeof(c[0]), "%s%s", r->quantity, r->learned ? ", learned" : "");
        o3_format(c[1], sizeof(c[1]), "%d", r->count);
        percent(c[2], r->median_frac, false);
        percent(c[3], r->p95_frac, false);
        percent(c[4], r->worst_frac, true);
        percent(c[5], r->bias_frac, true);
        o3_format(c[6], sizeof(c[6]), "%.0f %% (%.0f..%.0f)", r->inside_frac * 100, r->inside_low * 100,
                  r->inside_high * 100);
    }
    text_grid(&buf, colour, COLUMNS, heads, accuracy->count, cells);
    text_wrap(&buf, 0, 2, "median, p95, worst and bias of the error, (predicted - measured) / measured; (..) is the 95 % interval of the share; learned: "
              "measured points stood behind the prediction");
    return O3_TAKE(buf.data);
}
