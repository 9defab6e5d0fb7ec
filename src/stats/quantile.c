/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles of the normal and Student t distributions: a rough closed form, then Newton on the exact CDF. */
#include "stats.h"

#define FRACTION_STEPS 500  /* the continued fraction needs O(sqrt(df)): 1e4 degrees of freedom take about 70 */
#define NEWTON_STEPS 100
#define DF_NORMAL 1e4       /* from here the expansion of t about z is exact to 1e-15 */
#define DF_FRACTION 1e5     /* the tail needs it with half of these steps still to spare */

/* Start: Abramowitz & Stegun 26.2.23 (error < 4.5e-4). Halley's method with libm's erfc brings it to the precision of
 * double. Works on the upper tail, where 1 - p would lose digits, and with erf near the centre, where erfc would. */
static double normal_upper(double q)
{
    if (q >= 0.5)
        return 0;
    double s = sqrt(-2 * log(q));
    double z = s - (2.515517 + s * (0.802853 + s * 0.010328)) /
                       (1 + s * (1.432788 + s * (0.189269 + s * 0.001308)));
    for (int i = 0; i < 3; i++) {
        double density = exp(-z * z / 2) / sqrt(2 * M_PI);
        if (density <= 0)
            break;
        double over = q > 0.25 ? erf(z / sqrt(2)) / 2 - (0.5 - q) : q - erfc(z / sqrt(2)) / 2;
        double step = over / density;
        z -= step / (1 - step * z / 2);
    }
    return z;
}

double stats_normal_quantile(double p)
{
    if (isnan(p) || p < 0 || p > 1)
        return NAN;
    if (p <= 0 || p >= 1)
        return p <= 0 ? -INFINITY : INFINITY;
    return p < 0.5 ? -normal_upper(p) : normal_upper(1 - p);
}

/* Continued fraction of the incomplete beta function, DLMF 8.17.22, by the modified Lentz method (Thompson & Barnett
 * 1986). Converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= FRACTION_STEPS; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double delta = 1;
        for (int half = 0; half < 2; half++) {
            double term = half ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            delta = c * d;
            f *= delta;
        }
        if (fabs(delta - 1) < 1e-16)
            break;
    }
    return f;
}

/* Regularised incomplete beta I_x(a, b); y = 1 - x is given apart so that no digit of it is lost. lgamma_r, because
 * lgamma writes a global. */
static double beta_regularised(double a, double b, double x, double y)
{
    if (x <= 0 || y <= 0)
        return x <= 0 ? 0 : 1;
    int sign;
    double front = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) + a * log(x) + b * log(y));
    if (x < (a + 1) / (a + b + 2))
        return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

static double t_density(double t, double df)
{
    int sign;
    return exp(lgamma_r((df + 1) / 2, &sign) - lgamma_r(df / 2, &sign) - (df + 1) / 2 * log1p(t * t / df)) /
           sqrt(df * M_PI);
}

/* P(T > t) for t >= 0 (DLMF 8.17 with Abramowitz & Stegun 26.7.1), and P(0 < T < t), each without cancellation. */
static double t_tail(double t, double df)
{
    double square = t * t;
    return beta_regularised(df / 2, 0.5, df / (df + square), square / (df + square)) / 2;
}

static double t_centre(double t, double df)
{
    double square = t * t;
    return beta_regularised(0.5, df / 2, square / (df + square), df / (df + square)) / 2;
}

/* Abramowitz & Stegun 26.7.5: t about the normal quantile z, in powers of 1 / df. */
static double t_expansion(double z, double df)
{
    double z2 = z * z;
    double g1 = z * (z2 + 1) / 4;
    double g2 = z * (3 + z2 * (16 + z2 * 5)) / 96;
    double g3 = z * (-15 + z2 * (17 + z2 * (19 + z2 * 3))) / 384;
    double g4 = z * (-945 + z2 * (-1920 + z2 * (1482 + z2 * (776 + z2 * 79)))) / 92160;
    return z + (g1 + (g2 + (g3 + g4 / df) / df) / df) / df;
}

/* Solves tail(t) = q in ln t, where heavy tails are nearly straight, inside a bracket that bisection keeps valid. */
static double t_upper(double q, double df)
{
    bool central = q > 0.25;
    double target = central ? 0.5 - q : q;
    double low = -750, high = 700; /* ln t */
    double start = t_expansion(normal_upper(q), df);
    double u = isfinite(start) && start > 0 ? log(start) : 0;
    for (int i = 0; i < NEWTON_STEPS; i++) {
        double t = exp(u), value = central ? t_centre(t, df) : t_tail(t, df);
        bool too_far = central ? value > target : value < target;
        *(too_far ? &high : &low) = u;
        double slope = (central ? 1 : -1) * t_density(t, df) * t / value;
        double next = u - log(value / target) / slope;
        if (!(next > low && next < high))
            next = (low + high) / 2;
        if (fabs(next - u) < 1e-15 * (1 + fabs(u)))
            return exp(next);
        u = next;
    }
    return exp(u);
}

double stats_t_quantile(double p, double df)
{
    if (isnan(p) || isnan(df) || p < 0 || p > 1 || df <= 0)
        return NAN;
    if (p <= 0 || p >= 1)
        return p <= 0 ? -INFINITY : INFINITY;
    double q = p < 0.5 ? p : 1 - p;
    if (q >= 0.5)
        return 0;
    double t = df >= DF_NORMAL ? t_expansion(normal_upper(q), df) : t_upper(q, df);
    return p < 0.5 ? -t : t;
}

double stats_t_tail(double t, double df)
{
    if (isnan(t) || isnan(df) || df <= 0)
        return NAN;
    if (isinf(t))
        return t > 0 ? 0 : 1;
    /* Far beyond any sample size the fraction grows long: there t is the normal, moved by Abramowitz & Stegun 26.7.8 */
    double upper = df <= DF_FRACTION ? t_tail(fabs(t), df)
                                     : stats_normal_tail(fabs(t) * (1 - 1 / (4 * df)) / sqrt(1 + t * t / (2 * df)));
    return t >= 0 ? upper : 1 - upper;
}

double stats_normal_tail(double z)
{
    return erfc(z / sqrt(2)) / 2;
}

double stats_binomial_cdf(int k, int n, double p)
{
    if (n < 0 || isnan(p) || p < 0 || p > 1)
        return NAN;
    if (k < 0 || k >= n)
        return k < 0 ? 0 : 1;
    return beta_regularised(n - k, k + 1.0, 1 - p, p);
}
