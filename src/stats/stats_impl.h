/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef O3_STATS_IMPL_H
#define O3_STATS_IMPL_H

#include "stats.h"

/* Copies what can be counted, of at most STATS_MAX. An infinite rate (a duration of 0) is as missing as NaN. */
int stats_finite(const double *x, int n, double *ret_values);
/* Finite samples, their mean (NaN for none) and sum of squared deviations. */
int stats_moments(const double *x, int n, double *ret_mean, double *ret_squares);
double stats_median_in_place(double *x, int n); /* sorts; for short arrays */
/* The outlier rule's limit: how far from the median a sample may lie. */
double stats_outlier_limit(const double *x, int n, double centre);
/* Mean +- t x se. */
stats_interval stats_interval_about(double mid, double se, double df, double confidence);

#endif
