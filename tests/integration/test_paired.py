#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `make bench-grid` judges by, against published tables and by simulation."""

import math
import pathlib
import random
import sys
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "benchlib"))
from paired import centre_interval, rank_sums, score, without_outliers


class TestPaired(unittest.TestCase):
    def test_rank_sums(self):
        """Lower tails of Wilcoxon's table: 2.5 % is T = 0 of 6, 8 of 10, 25 of 15 pairs."""
        for n, critical in ((6, 0), (10, 8), (15, 25)):
            tail = [sum(rank_sums(n)[:t + 1]) for t in (critical, critical + 1)]
            self.assertTrue(tail[0] <= 0.025 < tail[1], (n, tail))
        self.assertEqual(rank_sums(3), [n / 8 for n in (1, 1, 1, 2, 1, 1, 1)])

    def test_interval(self):
        self.assertEqual(centre_interval([1, 2, 3, 4, 5, 6]), (1, 3.5, 6))
        low, mid, high = centre_interval([1, 2, 3, 4, 5])
        self.assertTrue(math.isnan(low) and math.isnan(high) and mid == 3)

    def test_interval_covers(self):
        draw, covered = random.Random(1), 0
        for _ in range(2000):
            low, _, high = centre_interval([draw.gauss(0.03, 0.05) for _ in range(10)])
            covered += low <= 0.03 <= high
        self.assertTrue(0.935 < covered / 2000 < 0.967, covered / 2000)

    def test_score(self):
        self.assertAlmostEqual(score([80, 80], [200, 200], 0.25), 80 ** 0.25 * 200 ** 0.75)
        self.assertEqual(without_outliers([80, 81, 79, 80, 5]), [80, 81, 79, 80])
        self.assertEqual(without_outliers([80, 81, 5]), [80, 81, 5])


if __name__ == "__main__":
    unittest.main()
