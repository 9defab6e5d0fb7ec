/* SPDX-License-Identifier: Apache-2.0 */
/* Texts for people: numbers with their spread, wrapping, colour. Everything from outside passes text_clean, so that no
 * name or error text can steer a terminal. */
#ifndef O3_REPORT_TEXT_H
#define O3_REPORT_TEXT_H

#include "base/base.h"
#include "o3/report.h"

#define TEXT_WIDTH 80
#define TEXT_MAX (256u << 10)
#define TEXT_BOLD "\x1b[1m"
#define TEXT_DIM "\x1b[2m"
#define TEXT_RED "\x1b[31m"
#define TEXT_GREEN "\x1b[32m"
#define TEXT_YELLOW "\x1b[33m"

int text_width(const char *text); /* characters */
void text_clean(char *dst, size_t dst_size, const char *src);
/* `style` around `text`, or text alone where colour is off. */
void text_styled(o3_buf *buf, bool colour, const char *style, const char *text);
/* Words from column `used` on; following lines begin at `indent`; ends with a line feed. */
void text_wrap(o3_buf *buf, int used, int indent, const char *text);
/* "Label: words", wrapped below the words. */
void text_block(o3_buf *buf, bool colour, const char *label, const char *text);

/* A table: heads, then rows of `columns` cells. The first column is left-aligned and is cut where the whole would pass
 * TEXT_WIDTH; the others are aligned right; a column whose cells are all empty is left out. */
#define TEXT_COLUMNS_MAX 12
typedef char text_cell[80];
void text_grid(o3_buf *buf, bool colour, int columns, const char *const *heads, int rows, text_cell *cells);

void text_tokens(char *dst, size_t dst_size, int64_t tokens);        /* "29,952"; "unknown" below 0 */
void text_short_ms(char *dst, size_t dst_size, double ms);           /* "36 s", "4.2 s", "850 ms", "2:05" */
void text_rate(char *dst, size_t dst_size, const o3_measure *rate);  /* "38.4 ± 1.1", "80..160", "-" */
void text_ttft(char *dst, size_t dst_size, const o3_measure *ttft);
void text_knob(char *dst, size_t dst_size, const o3_knobs *knobs, const o3_knob_field *field); /* "auto" if unset */
int64_t text_peak(const o3_peaks *peaks); /* highest memory of the runner; -1 unknown */
const char *text_state(const o3_preset *preset); /* "✔ filled", "measured", "predicted" */

void text_servers(o3_buf *buf, bool colour, const o3_result *result); /* servers.c: a block of the summary, or nothing */

bool text_known(const o3_measure *measure); /* measured or predicted; a zeroed one is neither */

/* 95 % intervals of two measured rates at equal depth (within 10 %). */
typedef enum text_verdict { TEXT_UNKNOWN, TEXT_SAME, TEXT_FASTER, TEXT_SLOWER } text_verdict;
text_verdict text_compare(const o3_measure *a, const o3_measure *b, double *ret_percent);

#endif
