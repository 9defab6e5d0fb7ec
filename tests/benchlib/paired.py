# SPDX-License-Identifier: Apache-2.0
"""What a few samples and a few pairs say: pure, the standard library only."""

import math
import statistics

OUTLIER_MADS, OUTLIER_SHARE = 3.5, 0.2      # the rule of docs/statistics.md


def without_outliers(values):
    """Farther than 3.5 x 1.4826 MAD from the median, one of five at most, the farthest first."""
    kept = list(values)
    if len(values) < 4:
        return kept
    centre = statistics.median(values)
    limit = OUTLIER_MADS * 1.4826 * statistics.median(abs(x - centre) for x in values)
    for _ in range(int(OUTLIER_SHARE * len(values) + 1e-9)):
        farthest = max(kept, key=lambda x: abs(x - centre))
        if abs(farthest - centre) <= limit:
            break
        kept.remove(farthest)
    return kept


def score(decode, prefill, decode_weight):
    """The race's score of one visit (docs/search.md): decode^w x prefill^(1-w) of geometric means without outliers."""
    mean = {name: statistics.mean(map(math.log, without_outliers(rates)))
            for name, rates in (("decode", decode), ("prefill", prefill))}
    return math.exp(decode_weight * mean["decode"] + (1 - decode_weight) * mean["prefill"])


def rank_sums(n):
    """P(T+ = t) of Wilcoxon's signed ranks, t = 0 .. n(n+1)/2, every sign equally likely."""
    ways = [1] + n * (n + 1) // 2 * [0]
    for rank in range(1, n + 1):
        for t in range(len(ways) - 1, rank - 1, -1):
            ways[t] += ways[t - rank]
    return [count / 2 ** n for count in ways]


def centre_interval(differences, level=0.95):
    """(low, mid, high) of the centre of symmetric differences: Hodges and Lehmann 1963, exact by Wilcoxon's signed ranks.
    low and high are NaN where so few pairs cannot reach the level (95 %: fewer than six)."""
    n = len(differences)
    if not n:
        return math.nan, math.nan, math.nan
    walsh = sorted((differences[i] + differences[j]) / 2 for i in range(n) for j in range(i, n))
    tail, outside = 0.0, -1
    for t, p in enumerate(rank_sums(n)):
        tail += p
        if tail > (1 - level) / 2:
            break
        outside = t
    if outside < 0:
        return math.nan, statistics.median(walsh), math.nan
    return walsh[outside], statistics.median(walsh), walsh[-1 - outside]
