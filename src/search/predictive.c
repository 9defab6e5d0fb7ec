/* SPDX-License-Identifier: Apache-2.0 */
/* The default strategy: start where the prediction says, let loads correct it, fill where they agree, and bisect only
 * what memory does not explain. */
#include "search_impl.h"

#define FILLS_MAX 2        /* the second proof is the third full fill */
#define WORTH_FILLING 0.03 /* bisecting by fills: less than this share more of window does not pay for another */
#define LIE_FRAC 0.35      /* the first load failed: as if the prediction had been this much too small, */
#define REFUSED_FRAC 0.08  /* but where a device refused first so much: drivers give a little less than they show */
#define GALLOPS_MAX 3      /* where a point failed without being short of memory, its neighbours are looked at first: */
#define GALLOP 64          /* this part of the window below, then four times as far */
#define TIGHT_FRAC 0.10    /* a fill that failed with less room than this left was short of memory */
#define BACK_OFF 32        /* then: this part of the window less, then twice as much, and so on */
#define PAGING_FRAC 0.07   /* a fill that paged, or was as slow: this part of all bytes less each time. No fill is as dear, and
                              the window is only a part of the bytes */

/* A point that is broken says nothing of its neighbours: the next one below, each time farther; 0 = enough of that. */
static int64_t beside(search_ceiling *s, int64_t low)
{
    if (search_effect_of(s->last_failure) != SEARCH_BROKEN || s->gallops >= GALLOPS_MAX)
        return 0;
    int64_t back = s->failed / GALLOP << 2 * s->gallops++;
    int64_t next = search_grid(s->failed - (back > O3_CTX_GRID ? back : O3_CTX_GRID));
    return next > low ? next : 0;
}

/* Something that loaded could not be filled: only fills tell, and each is dear. */
static int64_t after_failed_fill(search_ceiling *s, int64_t high)
{
    int64_t low = s->deep && s->reached > s->proven && s->reached < high ? s->reached : s->proven;
    int64_t safe = search_safe(s), middle = search_grid((low + high + O3_CTX_GRID) / 2);
    if (s->proven && safe < s->failed) /* now it is known what a fill takes */
        return safe > s->proven + O3_CTX_GRID ? safe : 0;
    if (!s->proven && (s->last_failure == O3_OUTCOME_THRASHING || s->last_failure == O3_OUTCOME_TIMEOUT)) {
        int64_t calm = search_safe_if(s, PAGING_FRAC * s->failed_fills);
        return calm > 0 && calm < high ? calm : middle;
    }
    if (!s->proven && s->failed_kind == O3_STEP_MEASURED && search_safe_if(s, TIGHT_FRAC) < s->failed) {
        int64_t back = (s->failed / BACK_OFF) << (s->failed_fills < 6 ? s->failed_fills - 1 : 5);
        int64_t next = search_grid(s->failed - (back > O3_CTX_GRID ? back : O3_CTX_GRID));
        return next < high ? (next > middle ? next : middle) : high;
    }
    int64_t next = s->deep ? 0 : beside(s, s->proven);
    if (next)
        return next;
    return (double)(middle - s->proven) < WORTH_FILLING * (double)s->proven ? 0 : middle;
}

/* A load failed that was predicted to fit. */
static int64_t after_failed_load(search_ceiling *s, int64_t low, int64_t high)
{
    int64_t safe = search_safe(s), middle = search_grid((low + high + O3_CTX_GRID) / 2), next;
    bool broken = search_effect_of(s->last_failure) == SEARCH_BROKEN;
    if (s->sizes && safe < s->failed)
        return high; /* real sizes explain it, and say where the end is */
    if (s->sizes && !s->hole_tried && safe > s->failed + O3_CTX_GRID &&
        (broken || s->last_failure == O3_OUTCOME_SPILLED)) {
        s->hole_tried = true; /* they do not: it may be a hole, and above it all is well */
        return safe;
    }
    bool refused = s->last_failure == O3_OUTCOME_OOM_LOAD && s->profile->gpu_count > 0;
    if (!s->sizes && s->iterations <= 1 + refused) { /* any load that goes well brings real sizes */
        next = search_safe_if(s, refused && s->iterations == 1 ? REFUSED_FRAC : LIE_FRAC);
        if (next > middle && next < s->failed)
            return next;
    }
    next = beside(s, low);
    return next ? next : middle;
}

/* Only the upper end of what is predicted speaks against every window, and its middle does not: the smallest window is
 * within reach, and its real bytes take the place of the prediction. */
static bool worth_a_look(search_ceiling *s)
{
    return search_safe(s) <= 0 && s->sizes == 0 && s->loadable == 0 && s->failed > O3_CTX_GRID &&
           search_safe_middle(s) > 0;
}

static int64_t ask(search_ceiling *s)
{
    if (worth_a_look(s)) {
        s->must_fill = false;
        return O3_CTX_GRID;
    }
    int64_t low = s->loadable > s->proven && !s->fill_failed ? s->loadable : s->proven;
    int64_t high = search_top(s), next = high;
    s->must_fill = s->fill_failed || s->iterations >= s->max_iterations || high <= low;
    if (s->fills >= FILLS_MAX || (s->fill_failed && s->iterations >= s->max_iterations))
        return 0;
    if (s->given > 0 && s->given <= high)
        next = s->given;
    else if (s->beyond > 0 && s->beyond <= high)
        next = s->beyond; /* is it really the end? */
    else if (s->must_fill && !s->fill_failed)
        next = s->loadable < high ? s->loadable : high; /* not filled yet, if it is above what is proven */
    else if (s->fill_failed && s->failed_kind == O3_STEP_MEASURED)
        next = after_failed_fill(s, high);
    else if (s->surprised && s->failed_kind == O3_STEP_MEASURED)
        next = after_failed_load(s, low, high);
    if (!s->given)
        s->beyond = 0;
    s->given = 0;
    /* Where prediction is the bound, one step more than what is proven is not worth another load and fill. */
    return next > s->proven + (s->proven && high < s->failed - O3_CTX_GRID ? O3_CTX_GRID : 0) ? next : 0;
}

static bool enough(const search_ceiling *s)
{
    int64_t safe = s->safe_cache, high = safe < s->failed ? safe : s->failed - O3_CTX_GRID;
    int64_t more = high - s->asked;
    if (high == s->failed - O3_CTX_GRID)
        return more <= 0; /* where a failure is the bound, the grid is exact */
    /* Where prediction is, one step is within the reading's error, unless two may be. */
    return more <= 0 || (more == O3_CTX_GRID && search_safe_misread(s, -1) <= high);
}

const search_strategy search_predictive = {.name = "predictive", .careful = true, .ask = ask, .enough = enough};
