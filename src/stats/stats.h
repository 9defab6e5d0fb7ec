/* SPDX-License-Identifier: Apache-2.0 */
/* stats: arrays in, numbers out. No I/O, no clock, no allocation; what is drawn comes from a seed. Each formula names
 * its source; tests compare with values from SciPy and others (the script lies beside the fixture), docs/statistics.md
 * says what each holds and what was measured of it. NaN and infinite inputs are skipped as missing; what the inputs
 * cannot support is NaN. `confidence` 0.95 is a two-sided 95 %; `alpha` is an error, 0.05. */
#ifndef O3_STATS_H
#define O3_STATS_H

#include "o3/result.h"

#define STATS_MAX 256           /* samples one call looks at; later ones are ignored, percentiles excepted */
#define STATS_OUTLIER_SHARE 0.2 /* stats_measure removes at most this share: one of five */
#define STATS_CONFIDENCE 0.95
#define STATS_ALPHA 0.05
#define STATS_MARGIN 0.03       /* differences under 3 % are worth no change of settings */

/* ---- one group: stats.c, outlier.c */
double stats_mean(const double *x, int n);
double stats_sd(const double *x, int n);      /* n-1; NaN for n < 2; Welford */
double stats_median(const double *x, int n);  /* NaN for n = 0 */
double stats_mad(const double *x, int n);     /* median absolute deviation, unscaled */

/* Marks outliers in keep[] (true = kept): |x - median| > 3.5 x 1.4826 MAD (Iglewicz & Hoaglin 1993), and never more
 * than max_share of the finite samples (the farthest first). Where the MAD is 0, 1.253314 x the mean absolute deviation
 * stands in. Needs 4 finite samples, else keeps all. Returns the number removed; NaN is not kept, and not counted. */
int stats_outliers(const double *x, int n, double max_share, bool *keep);

/* Mean, 95 % t interval, CV and n of the kept samples. depth_tokens is copied through. n = 1: a mean alone. Samples
 * that the outlier rule removed stay in the interval's variance, drawn in to the rule's limit (as in Yuen's 1974 t of a
 * trimmed mean); without them the interval of five samples would cover 89 % and not 95. */
o3_measure stats_measure(const double *x, int n, int64_t depth_tokens, bool remove_outliers);

/* Linear interpolation at x over points sorted by xs; constant outside; points with NaN are skipped; NaN if
 * none is left. Of points with the same x, the first is taken. */
double stats_interpolate(const double *xs, const double *ys, int n, double x);

/* ---- distributions: quantile.c */
/* Inverse CDFs, relative error < 1e-8; df > 0 may be a fraction. p = 0 and 1 give -inf and +inf, outside NaN. */
double stats_t_quantile(double p, double df);
double stats_normal_quantile(double p);
double stats_t_tail(double t, double df);      /* P(T > t), relative error < 1e-8 */
double stats_normal_tail(double z);            /* P(Z > z) */
double stats_binomial_cdf(int k, int n, double p); /* P(K <= k) = I_{1-p}(n - k, k + 1): DLMF 8.17.5 */

/* ---- intervals: interval.c */
typedef struct stats_interval {
    double low, mid, high;
} stats_interval;
#define STATS_INTERVAL_NONE ((stats_interval){NAN, NAN, NAN})

stats_interval stats_t_interval(const double *x, int n, double confidence); /* Student 1908; NaN for n < 2 */
/* Bias-corrected and accelerated bootstrap (Efron 1987) of a statistic such as stats_mean or stats_median. Covers too
 * little below some ten samples: for a mean prefer stats_t_interval. NaN for n < 3. */
#define STATS_RESAMPLES 2000
stats_interval stats_bootstrap(const double *x, int n, double confidence, uint64_t seed,
                               double (*statistic)(const double *x, int n));
/* Wilson score interval (Wilson 1927) at 95 %. n = 0 gives NaN. */
void stats_wilson(int successes, int n, double *ret_low, double *ret_high);

/* ---- percentiles: percentile.c. p in (0, 1). Arrays of any length, sorted by stats_sort (which drops the missing). */
int stats_sort(double *x, int n); /* ascending, in place; returns how many are finite */
/* The order statistics between which the percentile lies with at least this confidence, whatever the distribution
 * (David & Nagaraja 2003, 7.1), and the estimate between them (type 8 of Hyndman & Fan 1996). All three NaN where n
 * samples do not reach around it: a p95 needs 72, a p99 368. */
stats_interval stats_percentile(const double *sorted, int n, double p, double confidence);
/* The highest percentile that n samples support at this confidence, ((1 - confidence) / 2)^(1/n); the lowest is one
 * less it. NaN below 6 samples (at 95 %), which do not support a median. */
double stats_percentile_highest(int n, double confidence);

/* ---- two groups: difference.c */
typedef enum stats_scale {
    STATS_DIFFERENCE, /* mean of a - mean of b */
    STATS_RATIO,      /* geometric mean of a / that of b, compared as logs; values <= 0 are missing */
} stats_scale;
typedef struct stats_comparison {
    stats_scale scale;
    double low, mid, high; /* interval of the difference or the ratio */
    double se, df;         /* of the difference (of logs); se 0 = no spread at all: any difference is then certain */
    double p;              /* two-sided, of "no difference"; NaN if either group has fewer than 2 samples */
} stats_comparison;

/* Unequal variances: Welch 1947, degrees of freedom by Satterthwaite 1946. */
stats_comparison stats_welch(const double *a, int na, const double *b, int nb, stats_scale scale, double confidence);
/* a[i] was taken next to b[i]: what both suffer cancels. Pairs with one missing are missing. */
stats_comparison stats_paired(const double *a, const double *b, int n, stats_scale scale, double confidence);
/* 95 % interval of the ratio of two means, Welch on logs (delta method); NaN if either n < 2 or a
 * mean is not positive. */
void stats_ratio(const double *a, int na, const double *b, int nb, double *ret_low, double *ret_mid, double *ret_high);

/* Exact one-sided p of "a's mean is no higher than b's": the share of all ways to deal the samples into two groups of these
 * sizes in which the first is as high (Fisher 1935, Pitman 1937). It asks for no distribution. Ties count as against a.
 * Three against three reach 0.05, four against four 0.014. NaN above STATS_PERMUTED a side, or with a missing one. */
#define STATS_PERMUTED 8
double stats_permutation_p(const double *a, int na, const double *b, int nb);

/* The p of "they differ by the margin or more" (two one-sided tests: Schuirmann 1987): small = shown to be the same for
 * our purpose. margin: 0.03 = within a factor of 1.03 either way (STATS_RATIO), or in units of the difference. */
double stats_equivalence_p(const stats_comparison *c, double margin);

/* The difference, as a share of the mean, that n samples a side with this coefficient of variation show with the
 * probability `power` (normal theory with t quantiles: Snedecor & Cochran 1989, 6.14); and the n for a difference, -1
 * if more than STATS_MAX. */
double stats_detectable_frac(double cv, int n, double alpha, double power);
int stats_repeats_needed(double cv, double difference_frac, double alpha, double power);

/* ---- many comparisons, one decision: decide.c */
#define STATS_COMPARISONS_MAX 128
/* Adjusted p values: the chance of any false claim among all m stays below alpha, however they depend on each other
 * (Holm 1979). NaN stays NaN and does not count. */
void stats_holm(const double *p, int m, double *ret_adjusted);

typedef enum stats_verdict {
    STATS_UNDECIDED, /* the samples show neither a difference nor that there is none */
    STATS_BETTER,    /* mid above the default's (a ratio over 1), shown */
    STATS_WORSE,
    STATS_TIE,       /* shown to differ by less than the margin: not worth a change, even if the difference is sure */
} stats_verdict;
const char *stats_verdict_name(stats_verdict verdict);

/* Candidates against the default, higher is better (give times as default / candidate). Holm over the differences and
 * over the equivalences. Returns the best of those shown to be better, or -1: a tie and "undecided" keep the default.
 * The chance that any candidate which is no better wins is at most alpha. ret_verdicts may be NULL. */
int stats_choose(const stats_comparison *against_default, int m, double alpha, double margin,
                 stats_verdict *ret_verdicts);

/* ---- how many repeats: adaptive.c (ask/tell) */
#define STATS_LOOKS_MAX 8
/* It looks only when at[i] samples are there, each time with an interval of confidence 1 - alpha / looks: whatever made
 * it stop, the interval then held misses the truth with a chance of at most alpha (Bonferroni over the looks: the
 * levels add up to alpha however the looks depend on each other). Stopping early needs no other allowance. */
typedef struct stats_rule {
    int looks, at[STATS_LOOKS_MAX]; /* ascending, 2 to STATS_MAX; the last is the cap. Else nothing is asked */
    double alpha;                   /* of the whole sequence; divide it by the number of sequences that are compared */
    double precision_frac;          /* enough when the interval is the mean +- this share; NaN: no such wish */
    double reference, margin;       /* enough when the interval lies beside the reference, or inside +- margin about
                                       it; NaN: no such wish */
} stats_rule;
extern const stats_rule stats_rule_measure; /* a rate: 5 to 20 samples, +- 5 % */
extern const stats_rule stats_rule_compare; /* ln(candidate / default) of neighbours in time: 3 to 12, margin 3 % */

typedef enum stats_stop {
    STATS_GO_ON,
    STATS_ABOVE, STATS_BELOW, /* the interval lies beside the reference */
    STATS_SAME,               /* inside the margin */
    STATS_PRECISE,
    STATS_CAP,                /* the last look, or twice as many attempts: not clear */
} stats_stop;
typedef struct stats_adaptive {
    stats_rule rule;
    int n, attempts, look;
    double mean, squares;     /* running: Welford 1962 */
    stats_interval interval;  /* of the last look; NaN before the first */
    stats_stop stop;
} stats_adaptive;
void stats_adaptive_start(stats_adaptive *s, const stats_rule *rule);
int stats_adaptive_ask(const stats_adaptive *s); /* samples until the next look; 0 = stopped, see s->stop */
void stats_adaptive_tell(stats_adaptive *s, double value); /* NaN = an attempt that gave nothing */

/* ---- before and while a number counts: steady.c, drift.c, marks.c */
#define STATS_WARMUP_ALPHA 0.01
/* How many of the first samples belong to the start and not to the steady state. Is there a warm-up at all: for each
 * cut up to half (at least 3 stay) the mean before it against the t prediction from those after it (Hahn 1970),
 * Bonferroni over the cuts; clean samples are cut with a chance of at most alpha. Where does it end: at the cut with
 * the least variance of the mean of the rest (MSER: White 1997). Needs 4 finite samples, else 0. */
typedef struct stats_steady {
    int warmup;  /* leading samples to leave out, missing ones among them counted */
    double p;    /* of "no warm-up"; NaN if it cannot be told */
    bool steady; /* the rest stands: not the last cut allowed, and no drift in the rest (at STATS_ALPHA) */
} stats_steady;
stats_steady stats_steady_find(const double *x, int n, double alpha);

typedef struct stats_drift {
    int n;
    double tau;         /* Kendall's, -1 to 1 */
    double p;           /* two-sided, of "no trend" */
    double change_frac; /* Sen's slope over the whole span, as a share of the median: -0.1 = fell by a tenth */
} stats_drift;
/* Mann 1945, Kendall 1975: exact up to STATS_KENDALL_EXACT samples without ties, else normal with the corrections for
 * ties and continuity; slope by Sen 1968 (of more than 64 samples, evenly chosen ones). at: ascending times, NULL = 0,
 * 1, 2... Four samples reach no p below 0.08, five none below 0.016. */
#define STATS_KENDALL_EXACT 30
stats_drift stats_drift_find(const double *at, const double *x, int n);

/* ---- the winner: winner.c */
/* The best of k estimates owes part of its lead to luck (the winner's curse). Each estimate is shrunk towards their
 * mean by the share of the spread that noise explains: empirical Bayes (Efron & Morris 1975) with the spread between
 * candidates by DerSimonian & Laird 1986. That is a correction to be shown; what counts is the fresh measurement. */
typedef struct stats_winner {
    int best;          /* index of the highest estimate; -1 if there is none */
    double selected;   /* its estimate, as measured while it was chosen */
    double shrunk;     /* what to expect of it when measured again */
    double curse;      /* selected - shrunk: the part of the estimate that is probably luck; >= 0 */
    double se;         /* of the selected estimate */
} stats_winner;
stats_winner stats_winner_select(const double *estimate, const double *se, int k);

typedef struct stats_confirmation {
    double fresh, drop; /* the fresh estimate; selected - fresh: the curse as it was paid */
    bool repeats;       /* fresh lies in the 95 % prediction interval about the shrunk estimate */
} stats_confirmation;
/* fresh: winner against default on a fresh load, on the scale of the estimates (their logs if it is STATS_RATIO). */
stats_confirmation stats_winner_confirm(const stats_winner *winner, const stats_comparison *fresh);

#endif
