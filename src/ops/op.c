/* The table of operators, made from ops.def, and what a device can do as far as their variants care. */
#include "ops/op.h"
#include <assert.h>
#include <string.h>

static const mcl__op *const table[MCL__OP_COUNT] = {
#define MCL_OP(name) [MCL__OP_##name] = &mcl__op_##name,
#include "ops/ops.def"
#undef MCL_OP
};

const mcl__op *mcl__op_get(mcl__op_kind kind)
{
    assert((int)kind >= 0 && kind < MCL__OP_COUNT);
    return table[kind];
}

/* Libraries' products are shaped for GPUs: a CPU behind OpenCL takes our own kernels unless asked for the library. */
static bool wants_gemm(const mcl_device *device)
{
    const char *choice = device->options.gemm ? device->options.gemm : "auto";
    if (!strcmp(choice, "own")) return false;
    if (!strcmp(choice, "auto")) return device->info.type != MCL_DEVICE_CPU;
    return true;
}

mcl__capabilities mcl__capabilities_of(mcl_device *device)
{
    const char *why = NULL;
    return (mcl__capabilities){
        .type = device->info.type,
        .local_memory = device->info.local_memory,
        .max_work_group = device->info.max_work_group,
        .compute_units = device->info.compute_units,
        .threads = device->threads,
        .gemm = wants_gemm(device) && mcl__gemm_available(device, &why),
    };
}
