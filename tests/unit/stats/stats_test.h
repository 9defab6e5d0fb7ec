/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of this folder share. Simulations have fixed seeds: they pass or fail, they do not flicker. */
#ifndef O3_STATS_TEST_H
#define O3_STATS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "../../fixtures/stats/expected.h"
#include "stats/stats.h"

#define DRAWS 4000 /* a share of 0.05 is then known to +- 0.007, one of 0.95 too (2 standard errors) */

static inline void near_rel(double got, double want, double relative, const char *what)
{
    bool same = (isnan(got) && isnan(want)) || (isinf(want) ? isinf(got) && (got > 0) == (want > 0) : false);
    if (!same && !(fabs(got - want) <= relative * fabs(want) + 1e-300))
        fail_msg("%s: got %.17g, expected %.17g", what, got, want);
}

static inline double normal_draw(o3_rng *rng)
{
    return sqrt(-2 * log(1 - o3_rng_unit(rng))) * cos(2 * M_PI * o3_rng_unit(rng)); /* Box & Muller 1958 */
}

/* Student's t with 3 degrees of freedom, over its standard deviation: heavy tails with a variance of 1. */
static inline double heavy_draw(o3_rng *rng)
{
    double z = normal_draw(rng), chi = 0;
    for (int i = 0; i < 3; i++)
        chi += pow(normal_draw(rng), 2);
    return z / sqrt(chi / 3) / sqrt(3);
}

/* One sample in ten comes from a burst four times as wide. */
static inline double burst_draw(o3_rng *rng)
{
    return normal_draw(rng) * (o3_rng_below(rng, 10) ? 1 : 4);
}

static inline double skewed_draw(o3_rng *rng) /* exponential less its mean */
{
    return -log(1 - o3_rng_unit(rng)) - 1;
}

static inline void assert_share(int hits, double low, double high, const char *what)
{
    double share = (double)hits / DRAWS;
    if (share < low || share > high)
        fail_msg("%s: %.4f is outside %.3f to %.3f", what, share, low, high);
}

#endif
