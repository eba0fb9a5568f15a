/* Operators: what a node computes, how its gradient is built, and the kernel variants that compute it. One file an
 * operator family in src/ops/, one line in ops.def. This header also declares the two builders that operators write
 * through: the gradient builder (implemented by graph/) and the lowering (implemented in lower.c). */
#ifndef MCL_OPS_OP_H
#define MCL_OPS_OP_H
#include "args.h"
#include "base/arena.h"
#include "device/device.h"
#include "step.h"

typedef enum mcl__op_kind {
#define MCL_OP(name) MCL__OP_##name,
#include "ops/ops.def"
#undef MCL_OP
    MCL__OP_COUNT
} mcl__op_kind;

typedef enum mcl__dtype { MCL_F32, MCL_I32, MCL_U8, MCL_BYTES } mcl__dtype; /* MCL_BYTES: a struct of step.h, 1 byte an element */
uint64_t mcl__dtype_bytes(mcl__dtype dtype);

/* Dimensions of a dense tensor, outermost first; activations are N, H, W, C or N, C. Fewer than 2^31 elements. */
typedef struct mcl__shape {
    int rank, d[4];
} mcl__shape;
int mcl__shape_elements(mcl__shape shape);                    /* the shape was checked */
bool mcl__shape_valid(mcl__shape shape);                      /* rank 1..4, all sizes > 0, fewer than 2^31 elements */
bool mcl__shape_equal(mcl__shape a, mcl__shape b);
int mcl__shape_channels(mcl__shape shape);                    /* the last dimension */
const char *mcl__shape_text(mcl__shape shape, char text[64]); /* "(128, 28, 28, 1)" */

#define MCL__MAX_OPERANDS 16
#define MCL__MAX_OUTPUTS 3

/* An operator's own parameters; all-zero where it has none. */
typedef struct mcl__attrs {
    union {
        struct { int KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
                 int H, W; /* conv2d_bwd_data only: size of dx */ } conv;
        struct { int KH, KW, stride_h, stride_w, pad_h, pad_w, count_padding; int H, W; /* *_bwd: size of dx */ } pool;
        struct { float eps, momentum; int rows; /* batch_norm_track only: N*H*W behind the statistics, for the unbiased variance */
                 int act; /* batch_norm_bwd_*: dy is behind this activation, MCL_ACT_RELU or MCL_ACT_RELU6; 0: none */ } norm;
        struct { mcl__shape size; int offset[4]; } region; /* slice, pad, reshape */
        struct { int axis; } concat;
        struct { int H, W, streamed, flip, crop, N; uint32_t stream; } load;
        struct { int squares; /* dense_bwd_weight only: the sum of squares of dw is output 1 */ } dense;
        struct { int first, known; /* input 2 is the sum of squares of so many floats from `first` on; 0: there is none */ } guard;
        struct { int group, offset, n, nesterov; float momentum, dampening, decay; } sgd;
        struct { int group, offset, n, decoupled; float beta1, beta2, eps, decay; } adam;
    };
} mcl__attrs;

/* The ordered pointwise codes at the end of a producer, or the whole of a map. Their tensors follow the operator's own
 * inputs, in order of use; when a DROPOUT is among them the step block is the last input of the node. */
typedef struct mcl__epilogue {
    int count;
    mcl_epilogue_code code[MCL_EPILOGUE_MAX];
} mcl__epilogue;
int mcl__epilogue_tensors(const mcl_epilogue_code *code); /* how many tensors one code takes: 0, 1 or 2 */
int mcl__epilogue_tensors_of(const mcl__epilogue *epilogue, int first, int count); /* how many codes [first, first + count) take */
bool mcl__epilogue_has_dropout(const mcl__epilogue *epilogue);
bool mcl__epilogue_has_stats(const mcl__epilogue *epilogue);   /* does it end in STATS? */
int mcl__epilogue_points(const mcl__epilogue *epilogue);       /* its codes but STATS */
bool mcl__attrs_have_squares(mcl__op_kind op, const mcl__attrs *attrs); /* is the sum of squares of the result an output, too? */

/* Codes applied to in[0] while it is read: SCALE_SHIFT by its channels, ACT, or both in this order. Padding is 0 after them.
 * Their tensors stand behind the operator's own inputs, before those of the epilogue. */
#define MCL__PROLOGUE_MAX 2
typedef struct mcl__prologue {
    int count;
    mcl_epilogue_code code[MCL__PROLOGUE_MAX];
} mcl__prologue;

/* One node's work, free of graph and device: what variants look at, and what oracle and tests compute. */
typedef struct mcl__problem {
    mcl__op_kind op;
    mcl__attrs attrs;
    mcl__prologue prologue;
    mcl__epilogue epilogue;
    int inputs, outputs; /* the operator's own, the prologue's and the epilogue's (STATS: outputs 1 and 2) */
    mcl__shape in[MCL__MAX_OPERANDS], out[MCL__MAX_OUTPUTS];
    mcl__dtype in_dtype[MCL__MAX_OPERANDS], out_dtype[MCL__MAX_OUTPUTS];
} mcl__problem;
int mcl__epilogue_input(const mcl__problem *problem, int first); /* index of the first tensor of the epilogue's code `first` */

/* Argument structs from a problem, shared by variants, native and tests. */
mcl_conv2d_args mcl__conv2d_args(const mcl__problem *problem); /* all three passes; of a dense layer, as a 1x1 convolution */
mcl_dense_args mcl__dense_args(const mcl__problem *problem);
mcl_map_args mcl__map_args(const mcl__problem *problem, int first_code, int count); /* of the epilogue's codes on out[0] */

/* --- Lowering: a variant turns a problem into commands ---------------------------------------------------------------- */

typedef enum mcl__operand_kind {
    MCL__OPERAND_IN,        /* the node's input [index] */
    MCL__OPERAND_OUT,       /* the node's output [index] */
    MCL__OPERAND_WORKSPACE, /* scratch of this node alone, from mcl__lower_workspace */
    MCL__OPERAND_DERIVED    /* another form of an input that is a parameter, from mcl__lower_derived */
} mcl__operand_kind;
typedef struct mcl__operand { mcl__operand_kind kind; int index; uint64_t offset; /* bytes from its start */ } mcl__operand;

typedef enum mcl__command_kind { MCL__COMMAND_KERNEL, MCL__COMMAND_GEMM } mcl__command_kind;

typedef struct mcl__command_arg {
    enum { MCL__COMMAND_OPERAND, MCL__COMMAND_I32, MCL__COMMAND_BLOB, MCL__COMMAND_LOCAL } kind;
    mcl__operand operand;
    int32_t i32; /* or bytes of local memory */
    const void *blob; /* copied into the lowering's arena */
    size_t blob_bytes;
} mcl__command_arg;

#define MCL__MAX_ARGS 20
typedef struct mcl__command {
    mcl__command_kind kind;
    int derive;             /* index of the derived tensor that this command makes, or -1: part of the node's work */
    mcl__kernel_key key;    /* kernels; strings in the lowering's arena */
    mcl__command_arg arg[MCL__MAX_ARGS];
    int args, dimensions;
    size_t global[3], local[3]; /* local[0] 0: the backend chooses */
    mcl__gemm gemm;             /* products: views unset; operands in arg[0..2] = a, b, c */
} mcl__command;

/* Another form of parameter in[input], named by `form` ("blocked16x4"): the same input and form of several nodes is made once. */
typedef struct mcl__derived { int input; char form[48]; uint64_t bytes; } mcl__derived;

/* What a device can do, as far as variants care. */
typedef struct mcl__capabilities {
    mcl_device_type type;
    uint64_t local_memory, max_work_group;
    uint32_t compute_units;
    int threads;
    uint32_t vector_floats; /* of a register; 0: not known */
    bool few_registers; /* a GPU's work-item has 128 floats in them, as Intel's, not 200 and more */
    bool keeps_loops; /* the device's; see device.h */
    bool gemm;        /* products go to a library */
    bool gemm_asked;  /* because somebody wants it so */
} mcl__capabilities;
mcl__capabilities mcl__capabilities_of(mcl_device *device);
/* A CPU whose compiler unrolls what it is told to. */
bool mcl__cpu_unrolls(const mcl__capabilities *capabilities);
/* Floats of the vectors of a CPU's register tiles: 16 where it has 32 registers of 16 floats (AVX-512), 8 for 16 registers of 8
 * (AVX2) or 32 of 4 (Neon). A tile has half the rows then. */
int mcl__tile_lanes(const mcl__capabilities *capabilities);

/* What a variant can choose for a problem, such as the sizes of a tile; what each number means is the variant's own affair. All 0:
 * it has nothing to choose. */
#define MCL__MOST_CANDIDATES 16
typedef struct mcl__parameters { int value[5]; } mcl__parameters;

/* A choice in words: "product", or "tile(4,2,16,1)" with the parameters where there is something to choose. */
#define MCL__CHOICE 48
/* Who made a choice: nobody (the variants' order), the rows that the library ships, the user's own measurement, the checkpoint
 * that a run goes on from, or whoever forced a variant. */
typedef enum mcl__origin { MCL__DEFAULT, MCL__SHIPPED, MCL__TUNED, MCL__RECORDED, MCL__FORCED } mcl__origin;

/* How a variant comes to its operator's values, for the oracle's bounds depend on the way. WINOGRAD_m_r: F(m x m, r x r). */
typedef enum mcl__algorithm { MCL__DIRECT, MCL__WINOGRAD_4_3, MCL__WINOGRAD_2_5, MCL__WINOGRAD_2_3 } mcl__algorithm;

typedef struct mcl__lowering mcl__lowering; /* collects one node's commands; errors are sticky */

/* Scratch of `bytes`, alive for this node only. Returns its operand. */
mcl__operand mcl__lower_workspace(mcl__lowering *lowering, uint64_t bytes);
/* A derived form of input. The commands emitted from here to mcl__lower_derived_end make it; they run only when the parameters
 * have changed, and once for all nodes that ask for the same form of the same parameter. */
mcl__operand mcl__lower_derived(mcl__lowering *lowering, int input, uint64_t bytes, const char *form_format, ...) MCL_PRINTF(4, 5);
void mcl__lower_derived_end(mcl__lowering *lowering);
static inline mcl__operand mcl__in(int index) { return (mcl__operand){MCL__OPERAND_IN, index, 0}; }
static inline mcl__operand mcl__out(int index) { return (mcl__operand){MCL__OPERAND_OUT, index, 0}; }

/* Emits a kernel launch: begin, its arguments in order, then end with the sizes. constants may be NULL (printf form). */
void mcl__lower_kernel(mcl__lowering *lowering, const char *source, const char *name, const char *prelude,
                       const char *constants_format, ...) MCL_PRINTF(5, 6);
void mcl__lower_arg(mcl__lowering *lowering, mcl__operand operand);
void mcl__lower_arg_i32(mcl__lowering *lowering, int32_t value);
void mcl__lower_arg_blob(mcl__lowering *lowering, const void *data, size_t bytes);
void mcl__lower_arg_local(mcl__lowering *lowering, size_t bytes);
void mcl__lower_sizes(mcl__lowering *lowering, int dimensions, const size_t *global, const size_t *local);
/* One work-item an element: a suitable local size, global rounded up (the kernel checks its index). */
void mcl__lower_linear(mcl__lowering *lowering, size_t items);
/* A product; gemm's views are ignored, a, b, c are the operands. */
void mcl__lower_gemm(mcl__lowering *lowering, const mcl__gemm *gemm, mcl__operand a, mcl__operand b, mcl__operand c);
/* Emits the codes of the problem's epilogue from `first` on, but STATS, as a map in place on out(0). A variant that takes no
 * epilogue itself (or only its first codes) calls this last. Does nothing when there are none. */
void mcl__lower_epilogue(mcl__lowering *lowering, const mcl__problem *problem, int first);
/* Emits the kernels of batch_norm_stats on out(0), for out(1) and out(2): lowering does for a variant that takes no STATS, and one
 * that takes them calls it where it does not after all. */
void mcl__lower_stats(mcl__lowering *lowering, const mcl__problem *problem);
/* Says that the result's rounding errors are not those of the plain sum. */
void mcl__lower_algorithm(mcl__lowering *lowering, mcl__algorithm algorithm);
const mcl__capabilities *mcl__lowering_capabilities(const mcl__lowering *lowering);
const mcl__parameters *mcl__lowering_parameters(const mcl__lowering *lowering); /* one of the variant's candidates */

/* What lowering one problem gave. */
typedef struct mcl__lowered {
    const struct mcl__variant *variant;
    char choice[MCL__CHOICE];
    mcl__origin origin; /* MCL__DEFAULT unless somebody above lowering sets it */
    mcl__algorithm algorithm;
    mcl__command *command;
    int commands;
    mcl__derived derived[4];
    int deriveds;
    uint64_t workspace[6]; /* bytes */
    int workspaces;
    mcl__arena arena;
} mcl__lowered;

typedef struct mcl__variant {
    const char *name; /* "tile", "reference", "native_gemm", "library" */
    bool (*applicable)(const mcl__problem *problem, const mcl__capabilities *capabilities); /* NULL: always */
    void (*lower)(mcl__lowering *lowering, const mcl__problem *problem);
    /* Does it apply the prologue itself, at a cost below that of a map of its own? And write partial statistics (stats.h)? And add
     * up the squares of what it writes? NULL: no; then lowering emits a map before, which in(0) stands for, and the kernels of
     * batch_norm_stats or of square_sum behind. */
    bool (*takes_prologue)(const mcl__problem *problem, const mcl__capabilities *capabilities);
    bool (*takes_stats)(const mcl__problem *problem, const mcl__capabilities *capabilities);
    bool (*takes_squares)(const mcl__problem *problem, const mcl__capabilities *capabilities);
    /* The parameters worth measuring for this problem, at most MCL__MOST_CANDIDATES; the first is what serves unmeasured. Each must
     * be right, and is checked as the variant is. NULL: there is nothing to choose. */
    int (*candidates)(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list);
    /* Is one further down, which applies too, expected to be faster? Then this one serves where it is named. NULL: no. */
    bool (*yields)(const mcl__problem *problem, const mcl__capabilities *capabilities);
} mcl__variant;

bool mcl__variant_applies(const mcl__variant *variant, const mcl__problem *problem, const mcl__capabilities *capabilities);
/* Is this the variant that `force`, "NAME", "NAME:CANDIDATE" or "NAME(PARAMETERS)", names? */
bool mcl__variant_named(const mcl__variant *variant, const char *force);

/* Lowers with the first applicable variant that does not yield, or with the one named `force` where it exists and applies
 * ("reference" exists everywhere; another name that an operator does not have means its default). "tile:2" is a variant's candidate
 * 2, "tile(4,2,16,1)" the one with these parameters, its first one where there is none such. Free with mcl__lowered_free. */
mcl_status mcl__lower(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force, mcl__lowered *out,
                      mcl_error *error);
void mcl__lowered_free(mcl__lowered *lowered);
/* The variant that mcl__lower takes; force may be NULL. NULL: none applies. */
const mcl__variant *mcl__lower_variant(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force);
/* Would it apply the problem's prologue itself, or add up the squares of its result? Fusion asks. */
bool mcl__lower_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force);
bool mcl__lower_takes_squares(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force);

/* --- Gradients ---------------------------------------------------------------------------------------------------------- */

typedef struct mcl__builder mcl__builder; /* implemented by graph/; tensors are ids; -1 is none; errors are sticky */

/* A node in the present segment; returns its first output (the next outputs have the ids that follow), -1 on error. */
int mcl__build(mcl__builder *builder, mcl__op_kind op, const mcl__attrs *attrs, const mcl__epilogue *epilogue, const int *inputs,
               int count);
mcl__shape mcl__build_shape(const mcl__builder *builder, int tensor);
/* One pointwise code as a map node: y = code(x, tensors). t and u -1 when unused. */
int mcl__build_map(mcl__builder *builder, const mcl_epilogue_code *code, int x, int t, int u);
bool mcl__build_wanted(const mcl__builder *builder, int tensor); /* does anything need this tensor's gradient? */
int mcl__build_gradient(mcl__builder *builder, int tensor);      /* the sum of its contributions so far, or -1 */
void mcl__build_contribute(mcl__builder *builder, int tensor, int gradient);

/* The node whose gradient is asked for. */
typedef struct mcl__node_view {
    const mcl__attrs *attrs;
    const mcl__epilogue *epilogue;
    const int *inputs, *outputs;
    int input_count, output_count;
} mcl__node_view;
/* The node that made a tensor; false for parameters, constants and batches. */
bool mcl__build_producer(const mcl__builder *builder, int tensor, mcl__op_kind *op, mcl__node_view *view);
/* Records the builder's first failure: a gradient that cannot be built. */
void mcl__build_fail(mcl__builder *builder, mcl_status status, const char *format, ...) MCL_PRINTF(3, 4);

typedef struct mcl__op {
    const char *name;
    int inputs, outputs;  /* own inputs (-1: any number), outputs */
    bool takes_epilogue;  /* fusion may append codes (the variants that do not take them split off a map) */
    bool takes_prologue;  /* fusion may put codes before in[0] */
    bool in_place;        /* out[0] may share memory with in[0] */
    bool view;            /* out[0] is in[0] under another shape: no work */
    bool updates;         /* what its outputs held matters: it is read, or stays where nothing is written */
    /* Output shapes and dtypes from inputs and attrs; checks everything. The text names both shapes. */
    mcl_status (*infer)(mcl__problem *problem, mcl_error *error);
    /* Adds the nodes of the gradient; NULL: none exists (not differentiable, or a node of the backward pass or update). */
    void (*gradient)(mcl__builder *builder, const mcl__node_view *node);
    double (*flops)(const mcl__problem *problem); /* multiply and add count as two; NULL: one an output element */
    const mcl__variant *variants; /* fastest first, the reference last; ends with name NULL; NULL for views */
} mcl__op;

#define MCL_OP(name) extern const mcl__op mcl__op_##name;
#include "ops/ops.def"
#undef MCL_OP
const mcl__op *mcl__op_get(mcl__op_kind kind);

/* Registers the reference kernels with the native device. Idempotent; called before the first of them is asked for. */
void mcl__ops_register_native(void);

#endif
