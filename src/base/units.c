/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

#include "base.h"

void o3_fmt_bytes(char *dst, size_t dst_size, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    if (!(bytes >= 0)) {
        o3_copy(dst, dst_size, "unknown");
        return;
    }
    for (; bytes >= 1023.5 && unit < O3_COUNT(units) - 1; unit++)
        bytes /= 1024;
    o3_format(dst, dst_size, unit >= 3 && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

void o3_fmt_duration(char *dst, size_t dst_size, double seconds)
{
    if (!(seconds >= 0))
        o3_copy(dst, dst_size, "unknown");
    else if (seconds < 0.0995)
        o3_format(dst, dst_size, "%.0f ms", seconds * 1000);
    else if (seconds < 9.95)
        o3_format(dst, dst_size, "%.1f s", seconds);
    else if (seconds < 119.5)
        o3_format(dst, dst_size, "%.0f s", seconds);
    else if (seconds < 7199.5)
        o3_format(dst, dst_size, "%d min %d s", (int)(seconds + 0.5) / 60, (int)(seconds + 0.5) % 60);
    else
        o3_format(dst, dst_size, "%d h %d min", (int)(seconds / 60 + 0.5) / 60, (int)(seconds / 60 + 0.5) % 60);
}

bool o3_parse_duration(const char *text, double *ret_seconds)
{
    double total = 0;
    if (!*text)
        return false;
    while (*text) {
        char *end;
        if (!isdigit((unsigned char)*text) && *text != '.')
            return false;
        double value = strtod(text, &end);
        bool thousandth = end[0] == 'm' && end[1] == 's';
        double unit = thousandth ? 0.001 : *end == 'h' ? 3600 : *end == 'm' ? 60 : *end == 's' || !*end ? 1 : 0;
        if (end == text || unit == 0)
            return false;
        total += value * unit;
        text = end + thousandth + (*end != '\0');
    }
    *ret_seconds = total;
    return total <= 1e9;
}

bool o3_parse_bytes(const char *text, int64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (*end && !unit)
        return false;
    for (const char *u = units; unit && u <= unit; u++)
        value *= 1024;
    if (unit && strcmp(end + 1, "") && strcmp(end + 1, "iB") && strcmp(end + 1, "B"))
        return false;
    if (value > 9e18)
        return false;
    *ret_bytes = (int64_t)value;
    return true;
}

/* Levenshtein distance over at most 63 characters each. */
static int distance(const char *a, const char *b)
{
    int row[64], la = (int)strnlen(a, 63), lb = (int)strnlen(b, 63);
    for (int j = 0; j <= lb; j++)
        row[j] = j;
    for (int i = 1; i <= la; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= lb; j++) {
            int change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            int best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = best < change ? best : change;
        }
    }
    return row[lb];
}

const char *o3_nearest(const char *wanted, const char *const *names, int count)
{
    const char *best = NULL;
    int best_distance = (int)strlen(wanted) / 3 + 1;
    for (int i = 0; i < count; i++) {
        int d = distance(wanted, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}
