/* What the subcommands share: their table, options, messages, opening a device and a run. Results go to stdout, everything
 * else to stderr. */
#ifndef MCL_CLI_CLI_H
#define MCL_CLI_CLI_H
#include "train/config.h"
#include <monocle/train.h>
#include <stdio.h>

enum { EXIT_USAGE = 2 }; /* usage and configuration errors; EXIT_FAILURE for everything else that fails */

typedef struct mcl__subcommand {
    const char *name, *usage, *summary;
    const char *help;                /* the text after the options */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
} mcl__subcommand;

/* One option: "--name VALUE", "--name=VALUE", or "--name" for a flag. */
typedef struct mcl__option {
    const char *name;      /* "device" */
    const char *value;     /* "D", what the help calls its value; NULL: a flag */
    const char *help;
    const char **text;     /* where the value goes; for flags `flag` is set */
    bool *flag;
    const char **list;     /* may be given again and again: values go here ... */
    int *count, limit;     /* ... and are counted */
} mcl__option;

extern const mcl__subcommand *const mcl__subcommands[]; /* ends with NULL */

/* Takes options out of argv; what is left are operands, *argc of them from argv[1]. `--help` prints and exits with 0; an unknown
 * option prints the nearest one and exits with 2. "--" ends options. */
void mcl__options(const mcl__subcommand *command, const mcl__option *options, int *argc, char **argv);
/* "monocle train: text" on stderr, and the hint to --help; returns EXIT_USAGE. */
int mcl__usage_error(const mcl__subcommand *command, const char *format, ...) MCL_PRINTF(2, 3);
/* Prints the error and returns the exit status that goes with it. */
int mcl__report(const mcl_error *error);

/* Opens the device (selector NULL: the configuration's or MONOCLE_DEVICE) and says on stderr which one and why, unless quiet. */
mcl_status mcl__open_device(const char *selector, const mcl_device_options *options, bool quiet, mcl_device **device, mcl_error *error);

/* The configuration of an existing run. */
mcl_status mcl__run_config(const char *run, const char *const *sets, int count, mcl__config *config, mcl_error *error);
#endif
