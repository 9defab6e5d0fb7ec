/* SPDX-License-Identifier: Apache-2.0 */
/* What real loads say of the formula, in each memory by itself: the first fixes its offset, the second shows whether its
 * slope holds, a fill how much a load leaves untouched. From that, the largest context that is safe. */
#include "search_impl.h"

/* What a fill touches that its load had not, of the compute buffer, before any fill was seen: the host's pages are there
 * once they are written (and the formula is as good as that); a device gives what is asked for at once. */
#define COMPUTE_RATIO_HOST 1.005
#define COMPUTE_RATIO_DEVICE 0
#define FILL_LEAVES 64 /* tokens that a full fill may leave */
#define SLOPE_MIN 0.25 /* a formula farther off than this was not measured but misread */
#define SLOPE_MAX 4.0
#define ROUNDS_MAX 12  /* the slope's share of the offset depends on the answer */

static double formula_of(const o3_pool_estimate *p)
{
    return p->weights_bytes + p->kv_bytes + p->state_bytes + p->output_bytes + p->compute_bytes;
}

/* With all layers on the devices where no spill is wanted: a window that spilled would take less of them, so that memory
 * would not grow with the window. Whether the engine would keep it whole is asked apart (search_spills). */
o3_setting search_setting_at(const search_ceiling *s, int64_t num_ctx)
{
    o3_setting at = o3_setting_at(&s->setting, num_ctx);
    if (at.knobs.num_gpu < 0 && s->profile->gpu_count > 0 && !s->spill_expected && s->model->layers > 0)
        at.knobs.num_gpu = s->model->layers + 1;
    return at;
}

static void formula_at(const search_ceiling *s, int64_t num_ctx, search_size *ret)
{
    o3_estimate e;
    o3_setting at = search_setting_at(s, num_ctx);
    *ret = (search_size){.num_ctx = num_ctx};
    o3_predict_bytes(&e, s->profile, s->model, &at, &s->calibration);
    for (int i = 0; i < e.pool_count; i++) {
        int m = o3_memory_of(s->profile, e.pools[i].gpu);
        ret->formula_bytes[m] += formula_of(&e.pools[i]);
        ret->compute_bytes[m] += e.pools[i].compute_bytes;
    }
}

void search_size_forget(search_reading *reading)
{
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        reading->bytes[m] = NAN;
}

/* With what is reserved but not yet written; it will be by the first full batch. */
static double measured(const search_ceiling *s, const search_size *size, int m)
{
    double ratio = s->untouched_ratio[m];
    if (isnan(ratio))
        ratio = m ? COMPUTE_RATIO_DEVICE : COMPUTE_RATIO_HOST;
    /* What a batch writes is as long as its text: a window no larger than a batch is never filled to the last token. */
    if (size->filled)
        ratio *= size->num_ctx <= s->setting.knobs.num_batch ? (double)FILL_LEAVES / (double)size->num_ctx : 0;
    return size->read.bytes[m] + ratio * size->compute_bytes[m];
}

/* A device holds nothing but what was allocated, so a reading far from the formula is of something else. The host's may
 * be: pages of a file do not count as taken. */
static bool believed(const search_size *size, int m)
{
    double read = size->read.bytes[m], formula = size->formula_bytes[m];
    return read > 0 && (m == 0 || (read >= SLOPE_MIN * formula && read <= SLOPE_MAX * formula));
}

void search_size_tell(search_ceiling *s, const search_reading *read, bool filled)
{
    search_size now;
    int known = 0;
    formula_at(s, s->asked, &now);
    now.filled = filled;
    for (int m = 0; m < O3_MEMORIES_MAX; m++) {
        now.read.bytes[m] = read ? read->bytes[m] : NAN;
        if (!believed(&now, m))
            now.read.bytes[m] = NAN;
        known += !isnan(now.read.bytes[m]);
        if (filled && now.read.bytes[m] >= s->load.bytes[m] && now.compute_bytes[m] > 0)
            s->untouched_ratio[m] = (now.read.bytes[m] - s->load.bytes[m]) / now.compute_bytes[m];
    }
    if (!filled)
        s->load = now.read;
    if (!known)
        return;
    if (s->sizes == 0 || s->size[s->sizes - 1].num_ctx != s->asked) {
        if (s->sizes == 2)
            s->size[0] = s->size[1];
        else
            s->sizes++;
    }
    s->size[s->sizes - 1] = now;
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        if (!isnan(now.read.bytes[m]))
            s->calibration.offset[m] = (o3_offset){measured(s, &now, m) - now.formula_bytes[m], true};
    s->calibration.loads++;
    s->safe_cache = -1;
}

/* Bytes measured for each byte of the formula, between the last two sizes; 1 while that is within the readings'
 * error. */
static double slope(const search_ceiling *s, int m)
{
    double error = 2 * o3_reading_error_bytes(m);
    if (s->sizes < 2)
        return 1;
    double formula = s->size[1].formula_bytes[m] - s->size[0].formula_bytes[m];
    double real = measured(s, &s->size[1], m) - measured(s, &s->size[0], m);
    if (isnan(real) || fabs(real - formula) <= error || fabs(formula) < error)
        return 1;
    return fmin(fmax(real / formula, SLOPE_MIN), SLOPE_MAX);
}

static bool bent(const search_ceiling *s)
{
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        if (fabs(slope(s, m) - 1) > 0)
            return true;
    return false;
}

o3_calibration search_calibration_at(const search_ceiling *s, int64_t num_ctx)
{
    o3_calibration c = s->calibration;
    search_size at;
    if (!s->strategy->careful)
        for (int m = 0; m < O3_MEMORIES_MAX; m++)
            c.offset[m].known = true; /* the formula without what a runner takes besides: no load can be smaller */
    if (num_ctx <= 0 || !bent(s))
        return c;
    formula_at(s, num_ctx, &at);
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        c.offset[m].bytes += (slope(s, m) - 1) * (at.formula_bytes[m] - s->size[1].formula_bytes[m]);
    return c;
}

/* The same where the overhead's middle or upper end is taken for what is not known, and all of it asks for more. */
static o3_calibration assume(const search_ceiling *s, int64_t num_ctx, bool upper, double more_frac)
{
    o3_estimate e;
    o3_setting at = search_setting_at(s, num_ctx);
    o3_calibration c = search_calibration_at(s, num_ctx), known = c;
    o3_predict_bytes(&e, s->profile, s->model, &at, &s->calibration);
    for (int i = 0; i < e.pool_count; i++) {
        const o3_pool_estimate *p = &e.pools[i];
        int m = o3_memory_of(s->profile, p->gpu);
        if (!known.offset[m].known)
            c.offset[m].bytes += upper ? p->overhead_bytes.high : p->overhead_bytes.mid;
        c.offset[m].bytes += more_frac * formula_of(p);
        c.offset[m].known = true;
    }
    return c;
}

/* Predicted to leave the devices? The engine measures what a window would take, the runner's own part included, and keeps
 * layers elsewhere where that leaves less than its target free. surely: even if it takes the least that is possible. */
bool search_spills(const search_ceiling *s, int64_t num_ctx, bool surely)
{
    o3_estimate e;
    o3_setting at = search_setting_at(s, num_ctx);
    o3_calibration c = search_calibration_at(s, num_ctx);
    o3_predict_bytes(&e, s->profile, s->model, &at, &c);
    bool spills = e.spilled_frac > 0;
    for (int i = 0; i < e.pool_count && s->setting.knobs.num_gpu < 0; i++) {
        const o3_pool_estimate *p = &e.pools[i];
        if (p->gpu < 0 || p->pool < 0 || p->layers == 0)
            continue;
        const o3_pool *pool = &s->profile->pools[p->pool];
        int64_t left = o3_pool_room(s->profile, p->pool, false) + pool->total_bytes - pool->safe_bytes;
        double need = surely ? p->total_bytes.low : p->total_bytes.high;
        spills = spills || (pool->total_bytes > 0 && need + (double)at.fit_target_bytes > (double)left);
    }
    return spills;
}

/* Largest step up to `high` that is predicted to lie whole on the devices. */
static int64_t whole(const search_ceiling *s, int64_t high)
{
    int64_t low = 0, top = high / O3_CTX_GRID;
    if (s->profile->gpu_count == 0 || s->spill_expected || !search_spills(s, high, false))
        return high;
    while (low < top) {
        int64_t middle = (low + top + 1) / 2;
        if (search_spills(s, middle * O3_CTX_GRID, false))
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
    o3_setting at = search_setting_at(s, s->trained);
    int64_t safe = o3_predict_ceiling(s->profile, s->model, &at, false, &c, ret_limiting);
    /* The slope is anchored at the last size; its share at the answer moves the answer, less and less. */
    for (int i = 0; i < ROUNDS_MAX && bent(s) && safe > 0; i++) {
        c = search_calibration_at(s, safe);
        int64_t next = o3_predict_ceiling(s->profile, s->model, &at, false, &c, ret_limiting);
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
    o3_calibration c = assume(s, s->failed, true, more_frac);
    o3_setting at = search_setting_at(s, s->failed);
    return o3_predict_ceiling(s->profile, s->model, &at, false, &c, NULL);
}

int64_t search_safe_middle(const search_ceiling *s)
{
    o3_calibration c = assume(s, O3_CTX_GRID, false, 0);
    o3_setting at = search_setting_at(s, O3_CTX_GRID);
    return o3_predict_ceiling(s->profile, s->model, &at, false, &c, NULL);
}

int64_t search_safe_misread(const search_ceiling *s, double errors)
{
    search_ceiling misread = *s;
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        misread.calibration.offset[m].bytes += errors * o3_reading_error_bytes(m);
    return search_safe_with(&misread, NULL);
}

int64_t search_top(search_ceiling *s)
{
    int64_t safe = search_safe(s);
    return safe < s->failed ? safe : s->failed - O3_CTX_GRID;
}
