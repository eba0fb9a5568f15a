/* A run's configuration: YAML with a section for each subject (config.def) and the network. */
#ifndef MCL_TRAIN_CONFIG_H
#define MCL_TRAIN_CONFIG_H
#include "base/yaml.h"
#include "nn/network.h"
#include <monocle/train.h>

typedef struct mcl__config {
    mcl_train_options train;
    mcl_dataset_options data; /* its strings point into the document */
    const char *path, *train_files, *test_files, *device, *gemm;
    int threads;
    bool fuse;
    int64_t cache_megabytes;
    mcl__yaml *yaml;          /* owns the strings */
    char *resolved_path;      /* of the data, absolute */
} mcl__config;

/* Reads a file, then applies `sets` ("key.path=value"). config is valid after success; free it with mcl__config_free. */
mcl_status mcl__config_read(const char *file, const char *const *sets, int set_count, mcl__config *config, mcl_error *error);
/* Sensible defaults for a data folder without any file: network NULL lets the size of the pictures decide. */
mcl_status mcl__config_for_folder(const char *folder, const char *network, const char *const *sets, int set_count,
                                  mcl__config *config, mcl_error *error);
void mcl__config_free(mcl__config *config);

/* Sets a key in the document and reads all values again. */
mcl_status mcl__config_set(mcl__config *config, const char *path, const char *value, mcl_error *error);
/* With every key filled in, data.path absolute: what config.yaml in the run's folder holds. malloc'ed. */
char *mcl__config_resolved(const mcl__config *config);
/* What `monocle init` writes: every key with its default and its meaning. malloc'ed. */
char *mcl__config_template(void);

mcl_status mcl__config_open_data(const mcl__config *config, const char *cache_folder, mcl_dataset **data, mcl_error *error);
/* Where the configuration names no network, the pictures decide, and the configuration is told. */
mcl_status mcl__config_network(mcl__config *config, const mcl_dataset *data, mcl_network **network, mcl_error *error);
#endif
