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

mcl__capabilities mcl__capabilities_of(mcl_device *device)
{
    const char *why = NULL, *asked = device->options.gemm;
    return (mcl__capabilities){
        .type = device->info.type,
        .local_memory = device->info.local_memory,
        .max_work_group = device->info.max_work_group,
        .compute_units = device->info.compute_units,
        .threads = device->threads,
        .vector_floats = device->info.vector_floats,
        .few_registers = device->info.type == MCL_DEVICE_GPU && strstr(device->info.vendor, "Intel"),
        .keeps_loops = device->keeps_loops,
        .gemm = mcl__gemm_available(device, &why),
        .gemm_asked = asked && strcmp(asked, "clblast") == 0,
    };
}

bool mcl__cpu_unrolls(const mcl__capabilities *capabilities)
{
    return capabilities->type == MCL_DEVICE_CPU && !capabilities->keeps_loops;
}

int mcl__tile_lanes(const mcl__capabilities *capabilities)
{
    return capabilities->vector_floats == 0 || capabilities->vector_floats >= 16 ? 16 : 8;
}
