/* What `monocle probe` shows of a device beyond its mcl_device_info: capabilities that were tested, not believed, and
 * the quirks that apply to it. */
#ifndef MCL_DEVICE_PROBE_H
#define MCL_DEVICE_PROBE_H
#include "device/device.h"

/* claimed: the driver says so. works: a small kernel that uses it compiled, ran and gave the right answer here. */
typedef struct mcl__capability { bool claimed, works; } mcl__capability;

/* One row of the table of quirks; static text. */
typedef struct mcl__quirk {
    const char *what;    /* what is wrong */
    const char *instead; /* what is done instead */
    const char *source;  /* where it was reported */
} mcl__quirk;

#define MCL__PROBE_QUIRKS 16
typedef struct mcl__probe {
    mcl__capability fp16, fp64, bf16_storage, sub_groups;
    uint32_t sub_group_size;  /* measured by the sub-group kernel; 0 where there are none */
    const char *gemm_library; /* as mcl__gemm_library */
    bool gemm;                /* it serves products */
    const char *gemm_why_not; /* static text; NULL where gemm is set */
    char extensions[1024];    /* of those that matter to training, the ones that the device has */
    mcl__quirk quirks[MCL__PROBE_QUIRKS];
    int quirk_count;
} mcl__probe;

/* Verdicts are remembered on disk per device and driver. Waits. A capability that fails its test is no failure. */
mcl_status mcl__device_probe(mcl_device *device, mcl__probe *out);

#endif
