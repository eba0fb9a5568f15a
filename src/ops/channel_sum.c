/* Sums over all but the last axis: x (..., C) -> s (C), s[c] = sum over rows of x[row][c]. The gradient of a bias. */
#include "ops/signature.h"
#include "ops/spread.h"

static mcl_status infer(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_ANY}};
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    return mcl__signature_output(problem, 0, mcl__shape_of_vector(mcl__shape_channels(problem->in[0])), MCL_F32, error);
}

static mcl_rows_args args_of(const mcl__problem *problem)
{
    int C = mcl__shape_channels(problem->in[0]);
    return (mcl_rows_args){.rows = mcl__shape_elements(problem->in[0]) / C, .C = C};
}

static double flops(const mcl__problem *problem)
{
    return mcl__shape_elements(problem->in[0]);
}

/* Of so few elements that a second launch would cost more than the narrower reads that one alone has. */
static bool is_short(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    return capabilities->type == MCL_DEVICE_CPU && mcl__shape_elements(problem->in[0]) <= 1 << 16;
}

static void lower_short(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_rows_args args = args_of(problem);
    int width = mcl__spread_width_dividing(lowering, args.C);
    mcl__lower_kernel(lowering, "channel_sum", "channel_sum_short", NULL, "-DWIDTH=%d -DTILE=8", width);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_items(lowering, args.C / width, args.rows * width);
}

static void lower_split(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_rows_args args = args_of(problem);
    mcl__row_split split = mcl__split_rows(lowering, args.rows, args.C);
    mcl__operand partial = mcl__lower_workspace(lowering, mcl__split_bytes(split));

    mcl__lower_kernel(lowering, "channel_sum", "channel_sum_part", NULL, "-DWIDTH=%d%s -DTILE=%d", split.width,
                      mcl__spread_aligned(lowering), split.tile);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_arg_i32(lowering, split.parts);
    mcl__lower_arg_i32(lowering, split.rows_each);
    mcl__spread_lines(lowering, split.vectors, split.parts);

    mcl__lower_kernel(lowering, "channel_sum", "channel_sum_finish", NULL, "-DWIDTH=%d%s -DTILE=%d", split.width,
                      mcl__spread_aligned(lowering), split.tile);
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_arg_i32(lowering, split.parts);
    mcl__lower_linear(lowering, (size_t)args.C);
}

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_rows_args args = args_of(problem);
    mcl__lower_kernel(lowering, "channel_sum", "channel_sum", NULL, NULL);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__lower_linear(lowering, (size_t)args.C);
}

static const mcl__variant variants[] = {
    {"short", is_short, lower_short},
    {"split", mcl__on_opencl, lower_split},
    {"reference", NULL, lower_reference},
    {0},
};

const mcl__op mcl__op_channel_sum = {
    .name = "channel_sum", .inputs = 1, .outputs = 1, .infer = infer, .flops = flops, .variants = variants,
};
