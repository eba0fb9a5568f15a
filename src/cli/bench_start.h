/* Starts with an empty cache and with what this left in it, each in a process of its own: `monocle bench --start FOLDER NETWORK
 * OPTION...` keeps in FOLDER all that it compiles, so that the user's cache is neither read nor written, but for tuning rows. */
#ifndef MCL_CLI_BENCH_START_H
#define MCL_CLI_BENCH_START_H
#include "cli/cli.h"
#include "train/bench.h"

#define MCL__START_WORD "--start" /* no user's word */

/* The options are those of `bench`: the child is given what has a value. The folder is a temporary one, and is removed also where
 * a signal ends the program. */
mcl_status mcl__starts_measure(const char *network, const mcl__option *options, mcl__bench_start *cold, mcl__bench_start *warm,
                               mcl_error *error);

/* In the child: before anything else, and at the end. */
void mcl__start_begin(const char *folder);
int mcl__start_tell(const mcl__bench_start *start, const mcl_error *error);
#endif
