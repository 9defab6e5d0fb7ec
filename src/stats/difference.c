/* SPDX-License-Identifier: Apache-2.0 */
/* Two groups: how far apart, how sure, and whether they are the same for our purpose. */
#include "stats_impl.h"

static const stats_comparison nothing = {.low = NAN, .mid = NAN, .high = NAN, .se = NAN, .df = NAN, .p = NAN};

/* The values on the scale that is compared; what has no logarithm is missing. */
static int on_scale(const double *x, int n, stats_scale scale, double *ret_values)
{
    int looked = n < STATS_MAX ? n : STATS_MAX;
    for (int i = 0; i < looked; i++)
        ret_values[i] = scale == STATS_DIFFERENCE ? x[i] : x[i] > 0 ? log(x[i]) : NAN;
    return looked > 0 ? looked : 0;
}

static stats_comparison judged(double mid, double se, double df, stats_scale scale, double confidence)
{
    stats_interval about = stats_interval_about(mid, se, df, confidence);
    stats_comparison c = {scale, about.low, about.mid, about.high, se, df, NAN};
    c.p = se > 0 ? 2 * stats_t_tail(fabs(mid) / se, df) : fabs(mid) > 0 ? 0 : 1;
    if (scale == STATS_RATIO) {
        c.low = exp(c.low);
        c.mid = exp(c.mid);
        c.high = exp(c.high);
    }
    return c;
}

stats_comparison stats_welch(const double *a, int na, const double *b, int nb, stats_scale scale, double confidence)
{
    double x[STATS_MAX], y[STATS_MAX], mean_x, mean_y, squares_x, squares_y;
    int nx = stats_moments(x, on_scale(a, na, scale, x), &mean_x, &squares_x);
    int ny = stats_moments(y, on_scale(b, nb, scale, y), &mean_y, &squares_y);
    if (nx < 2 || ny < 2)
        return nothing;
    double var_x = squares_x / (nx - 1) / nx, var_y = squares_y / (ny - 1) / ny, variance = var_x + var_y;
    double df = nx + ny - 2;
    if (variance > 0)
        df = variance * variance / (var_x * var_x / (nx - 1) + var_y * var_y / (ny - 1));
    return judged(mean_x - mean_y, sqrt(variance), df, scale, confidence);
}

stats_comparison stats_paired(const double *a, const double *b, int n, stats_scale scale, double confidence)
{
    double x[STATS_MAX], y[STATS_MAX], mean, squares;
    int looked = on_scale(a, n, scale, x);
    on_scale(b, n, scale, y);
    for (int i = 0; i < looked; i++)
        x[i] -= y[i];
    int count = stats_moments(x, looked, &mean, &squares);
    return count < 2 ? nothing : judged(mean, sqrt(squares / (count - 1) / count), count - 1, scale, confidence);
}

void stats_ratio(const double *a, int na, const double *b, int nb, double *ret_low, double *ret_mid, double *ret_high)
{
    double mean_a, mean_b, squares_a, squares_b;
    int count_a = stats_moments(a, na, &mean_a, &squares_a), count_b = stats_moments(b, nb, &mean_b, &squares_b);
    *ret_low = *ret_mid = *ret_high = NAN;
    if (count_a < 2 || count_b < 2 || !(mean_a > 0) || !(mean_b > 0))
        return;
    /* Var(ln mean) = Var(mean) / mean^2 (delta method); degrees of freedom by Welch 1947, Satterthwaite 1946. */
    double var_a = squares_a / (count_a - 1) / count_a / (mean_a * mean_a);
    double var_b = squares_b / (count_b - 1) / count_b / (mean_b * mean_b);
    double variance = var_a + var_b, half = 0;
    if (variance > 0) {
        double df = variance * variance / (var_a * var_a / (count_a - 1) + var_b * var_b / (count_b - 1));
        half = stats_t_quantile((1 + STATS_CONFIDENCE) / 2, df) * sqrt(variance);
    }
    *ret_mid = mean_a / mean_b;
    *ret_low = *ret_mid * exp(-half);
    *ret_high = *ret_mid * exp(half);
}

double stats_permutation_p(const double *a, int na, const double *b, int nb)
{
    double all[2 * STATS_PERMUTED], seen = 0, scale = 0;
    int as_high = 0, orders = 0, n = na + nb;
    if (na < 1 || nb < 1 || na > STATS_PERMUTED || nb > STATS_PERMUTED)
        return NAN;
    for (int i = 0; i < n; i++) {
        all[i] = i < na ? a[i] : b[i - na];
        if (!isfinite(all[i]))
            return NAN;
        seen += i < na ? all[i] : 0;
        scale = fmax(scale, fabs(all[i]));
    }
    for (unsigned chosen = 0; chosen < 1u << n; chosen++) { /* every way to call na of them the a's */
        double sum = 0;
        if (__builtin_popcount(chosen) != na)
            continue;
        for (int i = 0; i < n; i++)
            sum += chosen >> i & 1 ? all[i] : 0;
        orders++;
        as_high += sum >= seen - 1e-12 * scale; /* ties count against a */
    }
    return (double)as_high / orders;
}

double stats_equivalence_p(const stats_comparison *c, double margin)
{
    bool ratio = c->scale == STATS_RATIO;
    double distance = fabs(ratio ? log(c->mid) : c->mid), limit = ratio ? log1p(margin) : margin;
    if (isnan(distance) || !(limit > 0))
        return NAN;
    if (c->se <= 0)
        return distance < limit ? 0 : 1;
    return stats_t_tail((limit - distance) / c->se, c->df); /* of the two tests the one on the nearer side */
}

double stats_detectable_frac(double cv, int n, double alpha, double power)
{
    if (n < 2 || !(cv >= 0))
        return NAN;
    double df = 2.0 * n - 2;
    return (stats_t_quantile(1 - alpha / 2, df) + stats_t_quantile(power, df)) * cv * sqrt(2.0 / n);
}

int stats_repeats_needed(double cv, double difference_frac, double alpha, double power)
{
    for (int n = 2; n <= STATS_MAX; n++)
        if (stats_detectable_frac(cv, n, alpha, power) <= difference_frac)
            return n;
    return -1;
}
