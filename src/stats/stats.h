/* SPDX-License-Identifier: Apache-2.0 */
/* stats: arrays in, numbers out. No I/O, no clock, no allocation. Each formula names its source; tests compare with
 * values from SciPy (the script lies beside the fixture). NaN and infinite inputs are skipped as missing. */
#ifndef O3_STATS_H
#define O3_STATS_H

#include "o3/result.h"

#define STATS_MAX 256           /* samples one call looks at; later ones are ignored */
#define STATS_OUTLIER_SHARE 0.2 /* stats_measure removes at most this share: one of five */

double stats_mean(const double *x, int n);
double stats_sd(const double *x, int n);      /* n-1; NaN for n < 2; Welford */
double stats_median(const double *x, int n);  /* NaN for n = 0 */
double stats_mad(const double *x, int n);     /* median absolute deviation, unscaled */
/* Inverse CDFs, relative error < 1e-8; df > 0 may be a fraction. p = 0 and 1 give -inf and +inf, outside NaN. */
double stats_t_quantile(double p, double df);
double stats_normal_quantile(double p);

/* Marks outliers in keep[] (true = kept): |x - median| > 3.5 x 1.4826 MAD (Iglewicz & Hoaglin 1993), and never more
 * than max_share of the finite samples (the farthest first). Where the MAD is 0, 1.253314 x the mean absolute deviation
 * stands in. Needs 4 finite samples, else keeps all. Returns the number removed; NaN is not kept, and not counted. */
int stats_outliers(const double *x, int n, double max_share, bool *keep);

/* Mean, 95 % t interval, CV and n of the kept samples. depth_tokens is copied through. n = 1: a mean alone. */
o3_measure stats_measure(const double *x, int n, int64_t depth_tokens, bool remove_outliers);

/* Wilson score interval (Wilson 1927) at 95 %. n = 0 gives NaN. */
void stats_wilson(int successes, int n, double *ret_low, double *ret_high);

/* 95 % interval of the ratio of two means, Welch on logs (delta method); NaN if either n < 2 or a
 * mean is not positive. */
void stats_ratio(const double *a, int na, const double *b, int nb, double *ret_low, double *ret_mid, double *ret_high);

/* Linear interpolation at x over points sorted by xs; constant outside; points with NaN are skipped; NaN if
 * none is left. Of points with the same x, the first is taken. */
double stats_interpolate(const double *xs, const double *ys, int n, double x);

#endif
