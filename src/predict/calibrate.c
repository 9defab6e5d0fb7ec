/* SPDX-License-Identifier: Apache-2.0 */
/* What measured rates teach: two ratios for prefill and two for decoding, each the time measured over the prior's, for
 * the part that is there at any depth and for the part that grows with it. Least squares on relative errors, shrunk
 * towards what was known before; the attention's ratio leans on the other where the depths tell little about it. */
#include "speed.h"

#define NOISE 0.06              /* of one measured rate between two loads */
#define TRUST_PRIOR 1.0         /* how far a prior may be off: a standard deviation, in units of what is found */
#define TRUST_PRIOR_BETWEEN 0.5 /* the same for the two ratios against each other */
#define TRUST_LEARNED 0.15      /* how far what was learned may have drifted */
#define RATIO_MOST 32.0         /* beyond this it is no calibration but a mistake */
#define ROUNDS 8
#define POINTS_MAX 256

typedef struct row { /* both parts at the ratios known before, over the time measured: 1 = as expected */
    double base, attention, weight;
} row;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), by_value);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static double within(double value, double low, double high)
{
    return !(value >= low) ? low : value > high ? high : value;
}

/* Points far from the others lose their say (Geman and McClure's weights): their distance in units of the median one. */
static void weigh(row *rows, int count, double base, double attention)
{
    double off[POINTS_MAX], sorted[POINTS_MAX];
    for (int i = 0; i < count; i++)
        off[i] = sorted[i] = fabs(rows[i].base * base + rows[i].attention * attention - 1);
    double usual = fmax(1.4826 * middle(sorted, count), NOISE);
    for (int i = 0; i < count; i++) {
        double far = off[i] / (2 * usual), calm = 1 / (1 + far * far);
        rows[i].weight = calm * calm;
    }
}

/* Factors on the two ratios. */
static void solve(const row *rows, int count, double trust, double trust_between, double *base, double *attention)
{
    double between = 1 / (trust_between * trust_between), before = 1 / (trust * trust);
    double bb = before + between, ba = -between, aa = between, b = before, a = 0;
    for (int i = 0; i < count; i++) {
        double weight = rows[i].weight / (NOISE * NOISE);
        bb += weight * rows[i].base * rows[i].base;
        ba += weight * rows[i].base * rows[i].attention;
        aa += weight * rows[i].attention * rows[i].attention;
        b += weight * rows[i].base;
        a += weight * rows[i].attention;
    }
    double determinant = bb * aa - ba * ba; /* > 0: `before` and `between` alone make it so */
    *base = (b * aa - a * ba) / determinant;
    *attention = (a * bb - b * ba) / determinant;
    /* Noise may ask for less than nothing of one part: it stops there, and the other part makes up for it. */
    if (*attention < 1 / RATIO_MOST || *attention > RATIO_MOST) {
        *attention = within(*attention, 1 / RATIO_MOST, RATIO_MOST);
        *base = (b - ba * *attention) / bb;
    } else if (*base < 1 / RATIO_MOST || *base > RATIO_MOST) {
        *base = within(*base, 1 / RATIO_MOST, RATIO_MOST);
        *attention = (a - ba * *base) / aa;
    }
}

static void fit(row *rows, int count, bool learned, double *base_ratio, double *attention_ratio)
{
    double straight[POINTS_MAX], start, base, attention, trust = learned ? TRUST_LEARNED : TRUST_PRIOR;
    double between = learned ? TRUST_LEARNED : TRUST_PRIOR_BETWEEN;
    for (int i = 0; i < count; i++)
        straight[i] = 1 / (rows[i].base + rows[i].attention);
    start = base = attention = middle(straight, count); /* one bad point does not move where it begins */
    for (int i = 0; i < ROUNDS; i++) {
        weigh(rows, count, base, attention);
        solve(rows, count, trust * start, between * start, &base, &attention);
    }
    *base_ratio = within(*base_ratio * base, 1 / RATIO_MOST, RATIO_MOST);
    *attention_ratio = within(*attention_ratio * attention, 1 / RATIO_MOST, RATIO_MOST);
}

static bool sound(const o3_rate_point *point)
{
    return point->depth_tokens > 0 && isfinite(point->seconds) && point->seconds > 0;
}

void o3_calibrate(o3_calibration *calibration, const o3_profile *profile, const o3_model *model,
                  const o3_setting *setting, const o3_rate_point *points, int count)
{
    o3_calibration *c = calibration;
    o3_auto(free) o3_estimate *e = o3_alloc(1, sizeof(*e));
    o3_auto(free) row *rows = o3_alloc(POINTS_MAX, sizeof(*rows));
    bool learned = c->rates > 0;
    speed_place(e, profile, model, setting, c);
    for (int decode = 0; decode < 2; decode++) {
        double *base = decode ? &c->decode_ratio : &c->prefill_ratio;
        double *attention = decode ? &c->decode_kv_ratio : &c->prefill_attention_ratio;
        int used = 0;
        for (int i = 0; i < count && used < POINTS_MAX; i++) {
            const o3_rate_point *point = &points[i];
            double depth = (double)point->depth_tokens;
            if (point->decode != decode || !sound(point))
                continue;
            speed_parts parts = decode ? speed_decode(e, profile, model, depth) : speed_prefill(e, profile, model, depth);
            rows[used++] = (row){*base * parts.base_s / point->seconds, *attention * parts.attention_s / point->seconds, 1};
        }
        if (used)
            fit(rows, used, learned, base, attention);
        c->rates += used;
    }
}
