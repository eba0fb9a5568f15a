/* The functions of OpenCL C that kernels may call, for a driver that else begins every program with 900 KB of declarations
 * (PoCL: nine tenths of the time that a small program takes). The library puts this file before the source of a program
 * there, and defines MCL_BUILTINS and the guard of the driver's header; where that fails to build, it builds without.
 * What is missing here therefore costs time only. A function stands here with all the types that a call could silently be
 * converted from, so that no call can mean another function than it would elsewhere. */
#ifdef MCL_BUILTINS
/* Not a function of OpenCL C, whose own does nothing in PoCL. */
#if defined(__x86_64__) || defined(__aarch64__)
#define PREFETCH(p) __builtin_prefetch((const void *)(size_t)(p))
#endif

#define OVERLOAD __attribute__((overloadable))
#define PURE __attribute__((overloadable, const))

/* --- Work-items */
#define OF_DIMENSION(name) size_t PURE name(uint dimension);
OF_DIMENSION(get_global_id) OF_DIMENSION(get_global_size) OF_DIMENSION(get_global_offset)
OF_DIMENSION(get_local_id) OF_DIMENSION(get_local_size)
OF_DIMENSION(get_group_id) OF_DIMENSION(get_num_groups)
uint PURE get_work_dim(void);
void OVERLOAD __attribute__((convergent)) barrier(cl_mem_fence_flags flags);
void OVERLOAD mem_fence(cl_mem_fence_flags flags);
void OVERLOAD read_mem_fence(cl_mem_fence_flags flags);
void OVERLOAD write_mem_fence(cl_mem_fence_flags flags);

/* --- Numbers: F is applied to a type and each of its vectors */
#define WIDTHS(F, name, type) F(name, type) F(name, type##2) F(name, type##4) F(name, type##8) F(name, type##16)
#define VECTORS(F, name, type)                                                                                     \
    F(name, type##2, type) F(name, type##4, type) F(name, type##8, type) F(name, type##16, type)
#define ONE(name, type) type PURE name(type x);
#define TWO(name, type) type PURE name(type x, type y);
#define THREE(name, type) type PURE name(type x, type y, type z);
#define SECOND_SCALAR(name, type, scalar) type PURE name(type x, scalar y);
#define BOUNDS_SCALAR(name, type, scalar) type PURE name(type x, scalar y, scalar z);
#define FLOATS(F, name) WIDTHS(F, name, float)
#define INTEGERS(F, name) WIDTHS(F, name, int) WIDTHS(F, name, uint)

FLOATS(ONE, exp) FLOATS(ONE, exp2) FLOATS(ONE, log) FLOATS(ONE, log2) FLOATS(ONE, sqrt) FLOATS(ONE, rsqrt) FLOATS(ONE, tanh)
FLOATS(ONE, erf) FLOATS(ONE, fabs) FLOATS(ONE, floor) FLOATS(ONE, ceil) FLOATS(ONE, rint)
FLOATS(TWO, pow) FLOATS(TWO, fmin) FLOATS(TWO, fmax) FLOATS(THREE, fma) FLOATS(THREE, mad)

FLOATS(TWO, min) FLOATS(TWO, max) FLOATS(THREE, clamp) INTEGERS(TWO, min) INTEGERS(TWO, max) INTEGERS(THREE, clamp)
VECTORS(SECOND_SCALAR, min, float) VECTORS(SECOND_SCALAR, max, float) VECTORS(BOUNDS_SCALAR, clamp, float)
VECTORS(SECOND_SCALAR, min, int) VECTORS(SECOND_SCALAR, max, int) VECTORS(BOUNDS_SCALAR, clamp, int)
VECTORS(SECOND_SCALAR, min, uint) VECTORS(SECOND_SCALAR, max, uint) VECTORS(BOUNDS_SCALAR, clamp, uint)
INTEGERS(TWO, mul_hi)

#define TEST(n) \
    int##n PURE isnan(float##n x); int##n PURE isinf(float##n x); int##n PURE isfinite(float##n x); \
    float##n PURE select(float##n x, float##n y, int##n c); float##n PURE select(float##n x, float##n y, uint##n c); \
    int##n PURE select(int##n x, int##n y, int##n c); int##n PURE select(int##n x, int##n y, uint##n c); \
    uint##n PURE select(uint##n x, uint##n y, int##n c); uint##n PURE select(uint##n x, uint##n y, uint##n c); \
    int PURE any(int##n x); int PURE all(int##n x);
TEST() TEST(2) TEST(4) TEST(8) TEST(16)

/* --- Conversions */
#define CONVERT(from, n) \
    float##n PURE convert_float##n(from##n x); int##n PURE convert_int##n(from##n x); \
    uint##n PURE convert_uint##n(from##n x); uchar##n PURE convert_uchar##n(from##n x); \
    int##n PURE convert_int##n##_rte(from##n x); uchar##n PURE convert_uchar##n##_sat(from##n x);
#define CONVERT_WIDTH(n) CONVERT(float, n) CONVERT(int, n) CONVERT(uint, n) CONVERT(uchar, n)
CONVERT_WIDTH() CONVERT_WIDTH(2) CONVERT_WIDTH(4) CONVERT_WIDTH(8) CONVERT_WIDTH(16)

/* --- Memory */
#define LOADS(type, n, space) type##n __attribute__((overloadable, pure)) vload##n(size_t at, const space type *p);
#define STORES(type, n, space) void OVERLOAD vstore##n(type##n x, size_t at, space type *p);
#define MEMORY(type, n) \
    LOADS(type, n, __global) LOADS(type, n, __local) LOADS(type, n, __private) LOADS(type, n, __constant) \
    STORES(type, n, __global) STORES(type, n, __local) STORES(type, n, __private)
#define MEMORY_WIDTHS(type) MEMORY(type, 2) MEMORY(type, 4) MEMORY(type, 8) MEMORY(type, 16)
MEMORY_WIDTHS(float) MEMORY_WIDTHS(int) MEMORY_WIDTHS(uint) MEMORY_WIDTHS(uchar)

#undef OVERLOAD
#undef PURE
#undef OF_DIMENSION
#undef WIDTHS
#undef VECTORS
#undef ONE
#undef TWO
#undef THREE
#undef SECOND_SCALAR
#undef BOUNDS_SCALAR
#undef FLOATS
#undef INTEGERS
#undef TEST
#undef CONVERT
#undef CONVERT_WIDTH
#undef LOADS
#undef STORES
#undef MEMORY
#undef MEMORY_WIDTHS
#endif
