/* What the device can do, tested: an extension counts once a small kernel that uses it has compiled, run and given the
 * right answer. A trial that fails is an answer, never a failure of the device. */
#include "device/opencl/opencl.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ITEMS 64

/* A trial maps in[i] = i / 8 to out[i] by its kernel `probe`; right() judges the outcome and may measure a value. */
typedef struct trial {
    const char *name, *options, *text;
    bool (*right)(const float *in, const float *out, uint32_t *value);
} trial;

static const char half_text[] =
    "#pragma OPENCL EXTENSION cl_khr_fp16 : enable\n"
    "__kernel void probe(__global const float *in, __global float *out) {\n"
    "  int i = get_global_id(0); half x = (half)in[i]; out[i] = (float)(x * (half)0.5f + (half)1.0f); }\n";

/* Halves of eighths below 8, plus 1, are exact in half precision. */
static bool half_right(const float *in, const float *out, uint32_t *value)
{
    (void)value;
    for (int i = 0; i < ITEMS; i++)
        if (out[i] != in[i] * 0.5f + 1.0f) return false;
    return true;
}

static const char double_text[] =
    "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n"
    "__kernel void probe(__global const float *in, __global float *out) {\n"
    "  int i = get_global_id(0); double x = 1.0 + (double)in[i] * 1e-12; out[i] = (float)((x - 1.0) * 1e12); }\n";

/* In single precision all of it would vanish. In double the sum is right to 2^-53, which is 1.2e-4 after scaling. */
static bool double_right(const float *in, const float *out, uint32_t *value)
{
    (void)value;
    for (int i = 0; i < ITEMS; i++)
        if (!(fabsf(out[i] - in[i]) <= 2.5e-4f)) return false;
    return true;
}

/* Stores the upper halves of rounded floats as ushort and lets the host read them as floats. */
static const char bfloat_text[] =
    "__kernel void probe(__global const float *in, __global float *out) {\n"
    "  int i = get_global_id(0); uint x = as_uint(in[i] * 1.01f); x += 0x7fffu + ((x >> 16) & 1u);\n"
    "  __global ushort *half_words = (__global ushort *)out;\n"
    "  half_words[2 * i] = 0; half_words[2 * i + 1] = (ushort)(x >> 16); }\n";

static bool bfloat_right(const float *in, const float *out, uint32_t *value)
{
    (void)value;
    for (int i = 0; i < ITEMS; i++) {
        uint32_t bits;
        memcpy(&bits, &out[i], sizeof bits);
        if ((bits & 0xffffu) != 0 || !(fabsf(out[i] - in[i] * 1.01f) <= in[i] * 0x1p-7f)) return false;
    }
    return true;
}

#define SUB_GROUP_BODY                                                                                        \
    "__kernel __attribute__((reqd_work_group_size(64, 1, 1)))\n"                                              \
    "void probe(__global const float *in, __global float *out) {\n"                                           \
    "  int i = get_global_id(0); float items = sub_group_reduce_add(in[i] - in[i] + 1.0f);\n"                 \
    "  out[i] = items == (float)get_sub_group_size() ? items : 0.0f; }\n"
static const char khr_text[] = "#pragma OPENCL EXTENSION cl_khr_subgroups : enable\n" SUB_GROUP_BODY;
static const char intel_text[] = "#pragma OPENCL EXTENSION cl_intel_subgroups : enable\n" SUB_GROUP_BODY;

static bool sub_group_right(const float *in, const float *out, uint32_t *value)
{
    (void)in;
    for (int i = 0; i < ITEMS; i++)
        if (!(out[i] >= 1.0f && out[i] <= (float)ITEMS)) return false;
    *value = (uint32_t)out[0];
    return true;
}

static const trial half_trial = {"fp16", "-cl-std=CL1.2", half_text, half_right};
static const trial double_trial = {"fp64", "-cl-std=CL1.2", double_text, double_right};
static const trial bfloat_trial = {"bf16 storage", "-cl-std=CL1.2", bfloat_text, bfloat_right};
static const trial sub_group_trials[] = {
    {"sub-groups khr 3.0", "-cl-std=CL3.0", khr_text, sub_group_right},
    {"sub-groups khr 2.0", "-cl-std=CL2.0", khr_text, sub_group_right},
    {"sub-groups intel", "-cl-std=CL1.2", intel_text, sub_group_right},
};

/* Builds and runs once; too little memory tells nothing. Everything is released whatever happens. */
static mcl__cl_verdict run(mcl__cl_device *device, const trial *t, uint32_t *value)
{
    float in[ITEMS], out[ITEMS] = {0};
    for (int i = 0; i < ITEMS; i++) in[i] = (float)i / 8.0f;
    mcl__cl_verdict verdict = MCL__CL_UNKNOWN;
    const char *text = t->text;
    const size_t items = ITEMS;
    cl_kernel kernel = NULL;
    cl_mem source = clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof in, in, NULL);
    cl_mem target = clCreateBuffer(device->context, CL_MEM_READ_WRITE, sizeof out, NULL, NULL);
    cl_program program = clCreateProgramWithSource(device->context, 1, &text, NULL, NULL);
    if (!source || !target || !program) goto done;
    cl_int code = mcl__cl_build(device, program, t->options);
    if (code == CL_SUCCESS) kernel = clCreateKernel(program, "probe", &code);
    if (code == CL_SUCCESS) code = clSetKernelArg(kernel, 0, sizeof source, &source);
    if (code == CL_SUCCESS) code = clSetKernelArg(kernel, 1, sizeof target, &target);
    if (code == CL_SUCCESS) code = clEnqueueNDRangeKernel(device->queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL);
    if (code == CL_SUCCESS) code = clEnqueueReadBuffer(device->queue, target, CL_TRUE, 0, sizeof out, out, 0, NULL, NULL);
    /* Out of resources is also what a kernel that faults comes to. */
    if (mcl__cl_status(code) == MCL_ERROR_MEMORY && code != CL_OUT_OF_RESOURCES) goto done;
    verdict = code == CL_SUCCESS && t->right(in, out, value) ? MCL__CL_PASSED : MCL__CL_FAILED;
done:
    if (kernel) clReleaseKernel(kernel);
    if (program) clReleaseProgram(program);
    if (source) clReleaseMemObject(source);
    if (target) clReleaseMemObject(target);
    return verdict;
}

static bool works(mcl__cl_device *device, const trial *t, uint32_t *value)
{
    mcl__cl_verdict verdict = mcl__cl_verdict_load(device, t->name, value);
    if (verdict == MCL__CL_UNKNOWN) {
        verdict = run(device, t, value);
        if (verdict != MCL__CL_UNKNOWN) mcl__cl_verdict_save(device, t->name, verdict, *value);
    }
    return verdict == MCL__CL_PASSED;
}

static const char *const useful_extensions[] = {
    "cl_khr_fp16", "cl_khr_fp64", "cl_khr_subgroups", "cl_intel_subgroups", "cl_intel_required_subgroup_size",
    "cl_khr_subgroup_shuffle", "cl_khr_integer_dot_product", "cl_intel_subgroup_matrix_multiply_accumulate",
    "cl_intel_bfloat16_conversions", "cl_khr_command_buffer", "cl_khr_il_program", "cl_khr_suggested_local_work_size",
    "cl_ext_float_atomics", "cl_nv_device_attribute_query", "cl_amd_device_attribute_query",
};

mcl_status mcl__cl_probe(mcl_device *base, mcl__probe *out)
{
    mcl__cl_device *device = mcl__cl(base);
    uint32_t unused = 0;
    size_t used = 0;
    for (size_t i = 0; i < sizeof useful_extensions / sizeof *useful_extensions; i++)
        if (mcl__cl_has_extension(&base->info, useful_extensions[i]) && used < sizeof out->extensions)
            used += (size_t)snprintf(out->extensions + used, sizeof out->extensions - used, "%s%s", used ? " " : "",
                                     useful_extensions[i]);
    out->fp16.claimed = base->info.fp16;
    if (out->fp16.claimed || (device->quirks & MCL__CL_TRY_FP16)) out->fp16.works = works(device, &half_trial, &unused);
    out->fp64.claimed = base->info.fp64;
    if (out->fp64.claimed) out->fp64.works = works(device, &double_trial, &unused);
    out->bf16_storage.claimed = true;
    out->bf16_storage.works = works(device, &bfloat_trial, &unused);
    out->sub_groups.claimed = mcl__cl_has_extension(&base->info, "cl_khr_subgroups") ||
                              mcl__cl_has_extension(&base->info, "cl_intel_subgroups");
    for (size_t i = 0; out->sub_groups.claimed && !out->sub_groups.works && i < 3; i++)
        out->sub_groups.works = works(device, &sub_group_trials[i], &out->sub_group_size);
    out->quirk_count = mcl__cl_quirk_rows(&base->info, out->quirks, MCL__PROBE_QUIRKS);
    return MCL_OK;
}
