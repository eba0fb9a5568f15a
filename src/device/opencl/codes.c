/* OpenCL's error codes: their names, and our status for each. */
#include "device/opencl/opencl.h"

static const struct { cl_int code; const char *name; mcl_status status; } codes[] = {
#define CL_CODE(code, status) {code, #code, MCL_ERROR_##status},
#include "device/opencl/codes.def"
#undef CL_CODE
};

const char *mcl__cl_code_name(cl_int code)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == code) return codes[i].name;
    return "an unknown OpenCL code";
}

mcl_status mcl__cl_status(cl_int code)
{
    if (code == CL_SUCCESS) return MCL_OK;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == code) return codes[i].status;
    return MCL_ERROR_DEVICE;
}

mcl_status mcl__cl_fail(mcl_device *device, const char *what, const char *call, cl_int code)
{
    return mcl__device_fail(device, mcl__cl_status(code), "%s: %s: %s (%d)", what, call, mcl__cl_code_name(code),
                            (int)code);
}
