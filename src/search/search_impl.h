/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of search/. */
#ifndef O3_SEARCH_IMPL_H
#define O3_SEARCH_IMPL_H

#include "base/base.h"
#include "search/search.h"

/* What a strategy decides; the bookkeeping of loads, fills and failures is the same for all (ceiling.c). */
struct search_strategy {
    const char *name;
    bool careful; /* goes up to what is predicted to be safe; else to what is not certain to break a limit */
    int64_t (*ask)(search_ceiling *s);        /* next num_ctx, 0 = done; says in must_fill whether its load is filled */
    bool (*enough)(const search_ceiling *s);  /* the asked one loaded: is it time to fill? */
};
extern const search_strategy search_predictive;

static inline int64_t search_grid(int64_t tokens)
{
    return tokens / O3_CTX_GRID * O3_CTX_GRID;
}

/* size.c: measured against formula */
void search_size_tell(search_ceiling *s, const search_reading *read, bool filled);
void search_size_forget(search_reading *reading); /* nothing was read */
o3_calibration search_calibration_at(const search_ceiling *s, int64_t num_ctx);
/* Largest context that memory allows as far as is known. ret_limiting may be NULL. */
int64_t search_safe(search_ceiling *s);
int64_t search_safe_with(const search_ceiling *s, int *ret_limiting);
/* The same if the failed size asked for this share more than predicted. */
int64_t search_safe_if(const search_ceiling *s, double more_frac);
/* The same where the middle of the prediction is taken for what no load was read of. */
int64_t search_safe_middle(const search_ceiling *s);
/* If more was taken than was read, by so many times the readings' error; negative: less. */
int64_t search_safe_misread(const search_ceiling *s, double errors);
/* Largest context that is still possible: safe, and below what failed. */
int64_t search_top(search_ceiling *s);
bool search_spills(const search_ceiling *s, int64_t num_ctx, bool surely); /* predicted, without its failures */
o3_setting search_setting_at(const search_ceiling *s, int64_t num_ctx); /* as its memory is predicted */

/* failures.c */
int64_t search_room(const o3_profile *profile);

#endif
