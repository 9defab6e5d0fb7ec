/* SPDX-License-Identifier: Apache-2.0 */
/* Tables as the vendors' programs print them: warnings before the header, \r\n, several tables in a row, units in
 * brackets behind a column's name, blanks around cells. Columns are found by their exact names and never by place:
 * every release moves them. */
#include <ctype.h>

#include "hardware/gpu.h"

#define CELLS_MAX 96
#define LINE_MAX_BYTES 8192

static char *trim(char *text)
{
    while (isspace((unsigned char)*text) || *text == '"')
        text++;
    size_t len = strlen(text);
    while (len && (isspace((unsigned char)text[len - 1]) || text[len - 1] == '"'))
        text[--len] = '\0';
    return text;
}

/* Cuts the line at its commas. What is too much for `max` cells stays in the last: names may hold commas. */
static int split(char *line, char **cells, int max)
{
    int count = 0;
    for (char *at = line; count < max; count++) {
        char *comma = count + 1 < max ? strchr(at, ',') : NULL;
        cells[count] = at;
        if (!comma)
            return count + 1;
        *comma = '\0';
        at = comma + 1;
    }
    return count;
}

/* "memory.total [MiB]" -> "memory.total" */
static void cut_unit(char *name)
{
    char *bracket = strstr(name, " [");
    if (bracket)
        *bracket = '\0';
}

static int place_of(char *const *names, int count, const char *wanted)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], wanted))
            return i;
    return -1;
}

int gpu_csv(const char *text, const char *const *columns, int column_count, gpu_row *row, void *ctx)
{
    char line[LINE_MAX_BYTES], *cells[CELLS_MAX];
    const char *given[GPU_COLUMNS_MAX];
    int place[GPU_COLUMNS_MAX], width = 0, rows = 0;
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        size_t len = strcspn(at, "\n");
        if (len >= sizeof(line)) /* no table of theirs is that wide */
            continue;
        o3_format(line, sizeof(line), "%.*s", (int)len, at);
        int count = split(line, cells, width ? width : CELLS_MAX);
        for (int i = 0; i < count; i++)
            cells[i] = trim(cells[i]);
        if (!strcmp(cells[0], columns[0])) { /* a header, maybe wider than the last: cut it anew */
            o3_format(line, sizeof(line), "%.*s", (int)len, at);
            width = split(line, cells, CELLS_MAX);
            for (int i = 0; i < width; i++) {
                cells[i] = trim(cells[i]);
                cut_unit(cells[i]);
            }
            for (int i = 0; i < column_count; i++)
                place[i] = place_of(cells, width, columns[i]);
            continue;
        }
        if (!width || !*cells[0])
            continue;
        for (int i = 0; i < column_count; i++)
            given[i] = place[i] >= 0 && place[i] < count ? cells[place[i]] : NULL;
        row(ctx, given);
        rows++;
    }
    return rows;
}

/* "N/A", "[N/A]", "[Not Supported]", "[GPU requires reset]", "None", "": none of them begins with a digit. */
double gpu_number(const char *cell, const char *unit)
{
    char *end;
    if (!cell || !(isdigit((unsigned char)*cell) || *cell == '-'))
        return NAN;
    double value = strtod(cell, &end);
    while (isspace((unsigned char)*end))
        end++;
    return isfinite(value) && (!*end || !strcmp(end, unit)) ? value : NAN;
}
