/* SPDX-License-Identifier: Apache-2.0 */
/* The table of strategies, and those that predictive is measured against. They load only to see whether it goes well,
 * fill the largest that loaded, and go no higher than what is certain to break a limit. */
#include "o3/config.h"
#include "search_impl.h"

#define LINEAR_STEP 4096 /* the step of the tool this one replaces */

/* What all of them do once the loads are over: fill the largest that loaded; should that fail, halve. 0 = done,
 * -1 = go on with loads. */
static int64_t finish(search_ceiling *s, int64_t high, bool loads_over)
{
    s->must_fill = s->fill_failed || loads_over;
    if (s->proven || s->failed_fills > s->max_iterations)
        return 0;
    if (s->fill_failed)
        return search_grid((high + O3_CTX_GRID) / 2);
    return !loads_over ? -1 : s->loadable < high ? s->loadable : high;
}

static bool at_the_end(const search_ceiling *s)
{
    int64_t high = s->safe_cache < s->failed ? s->safe_cache : s->failed - O3_CTX_GRID;
    return s->asked >= high;
}

/* The seed's: from initial_context_probe by binary_search_factor up, or down ever faster, until both sides are known;
 * then halves; max_binary_iterations loads at most. */
static int64_t binary_ask(search_ceiling *s)
{
    int64_t low = s->loadable, high = search_top(s), next;
    int64_t last = finish(s, high, s->iterations >= s->max_iterations || high <= low);
    if (last >= 0)
        return last;
    if (s->iterations == 0)
        next = s->options.initial_probe;
    else if (low && s->surprised)
        next = (low + high + O3_CTX_GRID) / 2;
    else if (low)
        next = (int64_t)((double)low * s->options.factor);
    else
        next = (int64_t)((double)s->failed / pow(s->options.factor, ldexp(1, s->iterations - 1)));
    next = search_grid(next);
    next = next < high ? next : high;
    return next > low ? next : low + O3_CTX_GRID;
}

static int64_t linear_ask(search_ceiling *s)
{
    int64_t high = search_top(s), next = s->loadable + LINEAR_STEP;
    bool over = next > high && (s->loadable || high < s->trained);
    int64_t last = finish(s, high, high <= s->loadable || (over && s->loadable));
    if (last >= 0)
        return last;
    return next < high ? next : high;
}

static bool linear_enough(const search_ceiling *s)
{
    return s->asked >= (s->safe_cache < s->trained ? s->safe_cache : s->trained);
}

static int64_t random_ask(search_ceiling *s)
{
    int64_t low = s->loadable, high = search_top(s);
    int64_t last = finish(s, high, s->iterations >= s->max_iterations || high <= low);
    o3_rng rng;
    if (last >= 0)
        return last;
    o3_rng_seed(&rng, s->options.seed, (uint64_t)s->iterations);
    return low + O3_CTX_GRID * (1 + (int64_t)o3_rng_below(&rng, (uint32_t)((high - low) / O3_CTX_GRID)));
}

/* Every step of the grid from the top down until one is filled: what is really the largest, whatever lies below. */
static int64_t exhaustive_ask(search_ceiling *s)
{
    s->must_fill = true;
    return s->proven ? 0 : search_top(s);
}

static const search_strategy *const strategies[] = {
    &search_predictive,
    &(const search_strategy){"binary_search", false, binary_ask, at_the_end},
    &(const search_strategy){"linear", false, linear_ask, linear_enough},
    &(const search_strategy){"random", false, random_ask, at_the_end},
    &(const search_strategy){"exhaustive", false, exhaustive_ask, at_the_end},
};
const char *const search_strategy_names[] = {"predictive", "binary_search", "linear", "random", "exhaustive", NULL};

const search_strategy *search_strategy_find(const char *name)
{
    for (int i = 0; i < O3_COUNT(strategies); i++)
        if (!strcmp(strategies[i]->name, name))
            return strategies[i];
    return NULL;
}

const char *search_strategy_name(const search_strategy *strategy)
{
    return strategy->name;
}

search_options search_options_of(const o3_config *config, uint64_t seed)
{
    return (search_options){.max_iterations = (int)config->search_strategy.max_binary_iterations,
                            .initial_probe = config->search_strategy.initial_context_probe,
                            .factor = config->search_strategy.binary_search_factor,
                            .seed = seed};
}
