/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "o3/simulate.h"

#define PAIRS 1000
#define NOISE 0.03

static void on_progress(void *ctx, const char *strategy, int64_t done, int64_t pairs)
{
    char text[96];
    O3_FORMAT(text, "%s, %lld of %lld pairs", strategy, (long long)done, (long long)pairs);
    cli_terminal_progress(ctx, "Simulate", text, (double)done / (double)pairs, NAN);
}

o3_status cmd_simulate(const cli_call *call, o3_err *err)
{
    const cli_options *o = &call->options;
    o3_auto(free) o3_simulation *simulation = o3_alloc(1, sizeof(*simulation));
    cli_terminal *terminal = cli_terminal_new(stderr);
    o3_simulate_request request = {.pairs = o->pairs ? o->pairs : PAIRS, .seed = o->seed ? (uint64_t)o->seed : 1,
                                   .lying = isnan(o->lying) ? 0 : o->lying, .noise = isnan(o->noise) ? NOISE : o->noise,
                                   .jobs = (int)o->jobs, .cancel = call->cancel, .on_progress = on_progress,
                                   .ctx = terminal};
    O3_COPY(request.strategy, o->strategy ? o->strategy : "");
    O3_COPY(request.machines, o->machines ? o->machines : "");
    o3_status status = o3_simulate(&request, simulation, err);
    cli_terminal_free(terminal);
    if (status)
        return status;
    if (o->json) {
        cli_print_json(o3_simulation_to_json(simulation));
    } else {
        o3_auto(free) char *text = o3_simulation_text(simulation, o->markdown);
        fputs(text, stdout);
    }
    return simulation->complete ? O3_OK : o3_fail(err, O3_E_CANCELLED, "interrupted; what was finished is above");
}
