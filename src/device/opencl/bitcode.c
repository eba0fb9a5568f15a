/* Programs by way of bitcode. Before PoCL looks into its cache for a program that is built from source, it preprocesses the
 * source, with all headers of its own: 14 to 20 ms, in every process. A program made from LLVM's bitcode it looks for by the
 * bitcode's hash, within 3 to 5 ms. And one that is compiled but not linked has this bitcode in its binary, which takes no time
 * to get, since kernels need no machine code for it. So programs are compiled, and built from the bitcode in what this yields.
 * Our cache keeps the bitcode, and later processes begin with that. https://llvm.org/docs/BitCodeFormat.html */
#include "device/opencl/opencl.h"
#include <stdlib.h>
#include <string.h>

enum { ENTER_SUBBLOCK = 1, MODULE = 8, IDENTIFICATION = 13, STRTAB = 23, SYMTAB = 25 };

/* Bytes of the block that starts here: a word that begins with the abbreviation (2 bits) and the block's number (8 bits),
 * then its length in words of 32 bits. 0: none does. */
static size_t block_bytes(const unsigned char *at, size_t room, unsigned *number)
{
    uint32_t head, words;
    if (room < 8) return 0;
    memcpy(&head, at, 4);
    memcpy(&words, at + 4, 4);
    *number = head >> 2 & 0xff;
    bool known = *number == MODULE || *number == IDENTIFICATION || *number == STRTAB || *number == SYMTAB;
    return (head & 3) == ENTER_SUBBLOCK && known && words <= (room - 8) / 4 ? 8 + 4 * (size_t)words : 0;
}

const unsigned char *mcl__cl_bitcode_find(const unsigned char *binary, size_t bytes, size_t *found)
{
    static const unsigned char magic[4] = {'B', 'C', 0xc0, 0xde};
    const unsigned char *start = memmem(binary, bytes, magic, sizeof magic);
    bool module = false;
    if (!start) return NULL;
    size_t room = bytes - (size_t)(start - binary), end = sizeof magic;
    unsigned number;
    for (size_t block; (block = block_bytes(start + end, room - end, &number)) != 0; end += block) module |= number == MODULE;
    *found = end;
    return module ? start : NULL;
}

/* The program as far as its bitcode; NULL: its source has errors, or the compiler is not there. */
static cl_program compile(mcl__cl_device *device, const char *text, const char *options)
{
    cl_program program = clCreateProgramWithSource(device->context, 1, &text, NULL, NULL);
    if (!program) return NULL;
    locale_t before = mcl__cl_enter_c_locale();
    cl_int code = clCompileProgram(program, 1, &device->id, options, 0, NULL, NULL, NULL, NULL);
    mcl__cl_leave_c_locale(before);
    if (code == CL_SUCCESS) return program;
    clReleaseProgram(program);
    return NULL;
}

/* NULL: the driver refuses bitcode, or builds it and finds no kernels. */
static cl_program build(mcl__cl_device *device, const unsigned char *bitcode, size_t bytes, const char *options)
{
    size_t kernels = 0;
    cl_program built = mcl__cl_build_binary(device, bitcode, bytes, options);
    if (!built) return NULL;
    if (clGetProgramInfo(built, CL_PROGRAM_NUM_KERNELS, sizeof kernels, &kernels, NULL) == CL_SUCCESS && kernels > 0) return built;
    clReleaseProgram(built);
    return NULL;
}

bool mcl__cl_bitcode_build(mcl__cl_device *device, mcl__cl_program *program, const char *compile_options,
                           const char *build_options)
{
    cl_program compiled = compile(device, program->text, compile_options), built = NULL;
    size_t bytes, found;
    if (!compiled) return false;
    unsigned char *binary = mcl__cl_binary(compiled, &bytes);
    const unsigned char *bitcode = binary ? mcl__cl_bitcode_find(binary, bytes, &found) : NULL;
    if (bitcode) built = build(device, bitcode, found, build_options);
    if (!built) {
        mcl__log(MCL_LOG_DEBUG, "%s.cl cannot be built from bitcode; this and all others are from source", program->source);
        device->quirks &= ~(unsigned)MCL__CL_BITCODE;
    } else {
        if (program->program) clReleaseProgram(program->program);
        program->program = built;
        if (device->binaries == MCL__CL_NEVER) mcl__cl_cache_save(device->cache, "programs", program->cache_key, bitcode, found);
    }
    free(binary);
    clReleaseProgram(compiled);
    return built;
}
