/* SPDX-License-Identifier: Apache-2.0 */
/* What real loads say of the formula: the first fixes its offset, the second shows whether its slope holds, a fill how
 * much a load leaves untouched. From that, the largest context that is safe. */
#include "search_impl.h"

#define READING_ERROR_BYTES (1.5 * 1048576) /* of one reading of the runner's memory */
#define COMPUTE_RATIO 1.005 /* written share of the compute buffer before any fill was seen: the formula's error */
#define SLOPE_MIN 0.25 /* a formula farther off than this was not measured but misread */
#define SLOPE_MAX 4.0
#define ROUNDS_MAX 12  /* the slope's share of the offset depends on the answer */

static double formula_at(const search_ceiling *s, int64_t num_ctx, o3_estimate *ret_estimate)
{
    o3_setting at = o3_setting_at(&s->setting, num_ctx);
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_predict(ret_estimate, s->profile, s->model, &at, &none);
    return ret_estimate->weights_bytes.mid + ret_estimate->kv_bytes.mid + ret_estimate->state_bytes.mid +
           ret_estimate->output_bytes.mid + ret_estimate->compute_bytes.mid;
}

/* After a load the compute buffer is reserved but not yet written; it will be by the first full batch. */
static double measured(const search_ceiling *s, const search_size *size)
{
    double ratio = isnan(s->untouched_ratio) ? COMPUTE_RATIO : s->untouched_ratio;
    return size->read_bytes + (size->filled ? 0 : ratio * size->compute_bytes);
}

void search_size_tell(search_ceiling *s, int64_t runner_bytes, bool filled)
{
    o3_estimate e;
    double formula = formula_at(s, s->asked, &e), compute = e.compute_bytes.mid;
    if (filled && runner_bytes > 0 && s->load_bytes > 0 && runner_bytes >= s->load_bytes && compute > 0)
        s->untouched_ratio = (double)(runner_bytes - s->load_bytes) / compute;
    if (!filled)
        s->load_bytes = runner_bytes;
    if (runner_bytes <= 0)
        return;
    if (s->sizes == 0 || s->size[s->sizes - 1].num_ctx != s->asked) {
        if (s->sizes == 2)
            s->size[0] = s->size[1];
        else
            s->sizes++;
    }
    search_size *size = &s->size[s->sizes - 1];
    *size = (search_size){s->asked, formula, compute, (double)runner_bytes, filled};
    s->calibration.offset_bytes = measured(s, size) - formula;
    s->calibration.loads++;
    s->safe_cache = -1;
}

/* Bytes measured for each byte of the formula, between the last two sizes; 1 while that is within the readings'
 * error. */
static double slope(const search_ceiling *s)
{
    if (s->sizes < 2)
        return 1;
    double formula = s->size[1].formula_bytes - s->size[0].formula_bytes;
    double real = measured(s, &s->size[1]) - measured(s, &s->size[0]);
    if (fabs(real - formula) <= 2 * READING_ERROR_BYTES || fabs(formula) < 2 * READING_ERROR_BYTES)
        return 1;
    return fmin(fmax(real / formula, SLOPE_MIN), SLOPE_MAX);
}

o3_calibration search_calibration_at(const search_ceiling *s, int64_t num_ctx)
{
    o3_calibration c = s->calibration;
    o3_estimate e;
    double k = slope(s);
    if (c.loads == 0 && !s->strategy->careful)
        c.loads = 1; /* the formula alone, without what a runner takes besides: no load can be smaller */
    if (num_ctx > 0 && fabs(k - 1) > 0)
        c.offset_bytes += (k - 1) * (formula_at(s, num_ctx, &e) - s->size[1].formula_bytes);
    return c;
}

bool search_spills(const search_ceiling *s, int64_t num_ctx)
{
    o3_estimate e;
    o3_setting at = o3_setting_at(&s->setting, num_ctx);
    o3_calibration c = search_calibration_at(s, num_ctx);
    o3_predict(&e, s->profile, s->model, &at, &c);
    return e.spilled_frac > 0;
}

/* Largest step up to `high` that is predicted to lie whole on the devices. */
static int64_t whole(const search_ceiling *s, int64_t high)
{
    int64_t low = 0, top = high / O3_CTX_GRID;
    if (s->profile->gpu_count == 0 || s->spill_expected || !search_spills(s, high))
        return high;
    while (low < top) {
        int64_t middle = (low + top + 1) / 2;
        if (search_spills(s, middle * O3_CTX_GRID))
            top = middle - 1;
        else
            low = middle;
    }
    return low * O3_CTX_GRID;
}

int64_t search_safe_with(const search_ceiling *s, int *ret_limiting)
{
    if (s->options.blind && !s->strategy->careful) {
        if (ret_limiting)
            *ret_limiting = -1;
        return s->trained;
    }
    int64_t last = s->sizes ? s->size[s->sizes - 1].num_ctx : 0, lower = 0;
    o3_calibration c = search_calibration_at(s, last);
    int64_t safe = o3_predict_ceiling(s->profile, s->model, &s->setting, false, &c, ret_limiting);
    /* The slope is anchored at the last size; its share at the answer moves the answer, less and less. */
    for (int i = 0; i < ROUNDS_MAX && fabs(slope(s) - 1) > 0 && safe > 0; i++) {
        c = search_calibration_at(s, safe);
        int64_t next = o3_predict_ceiling(s->profile, s->model, &s->setting, false, &c, ret_limiting);
        lower = next < safe ? next : safe;
        if (next == safe)
            break;
        safe = next;
        if (i == ROUNDS_MAX - 1)
            safe = lower;
    }
    return whole(s, safe);
}

int64_t search_safe(search_ceiling *s)
{
    if (s->safe_cache < 0)
        s->safe_cache = search_safe_with(s, &s->limiting_cache);
    return s->safe_cache;
}

int64_t search_safe_if(const search_ceiling *s, double more_frac)
{
    o3_estimate e;
    o3_calibration c = search_calibration_at(s, s->failed);
    double expected = formula_at(s, s->failed, &e);
    if (c.loads == 0) {
        c.loads = 1;
        c.offset_bytes = e.overhead_bytes.high;
    }
    c.offset_bytes += more_frac * expected;
    return o3_predict_ceiling(s->profile, s->model, &s->setting, false, &c, NULL);
}

int64_t search_safe_at_best(const search_ceiling *s)
{
    search_ceiling best = *s;
    best.calibration.offset_bytes -= READING_ERROR_BYTES;
    return search_safe_with(&best, NULL);
}

int64_t search_top(search_ceiling *s)
{
    int64_t safe = search_safe(s);
    return safe < s->failed ? safe : s->failed - O3_CTX_GRID;
}
