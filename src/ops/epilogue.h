/* Epilogues as kernels see them: generated text that applies an ordered list of point-wise codes to a value. */
#ifndef MCL_OPS_EPILOGUE_H
#define MCL_OPS_EPILOGUE_H
#include "ops/op.h"

#define MCL__PRELUDE_BYTES 3072

/* How many of the epilogue's codes, from `first` on, a prelude can hold: those before the first DROPOUT or STATS. (A dropout's
 * stream is a number of its layer; in the text it would make a program for each layer.) */
int mcl__epilogue_plain(const mcl__epilogue *epilogue, int first);
bool mcl__epilogue_all_plain(const mcl__epilogue *epilogue); /* a prelude holds all of it, but for statistics */

/* Writes the prelude of codes [first, first + count), none of them DROPOUT:
 *   EPILOGUE_PARAMS   kernel parameters, each with its leading comma: the codes' tensors in order
 *   EPILOGUE(T, LOAD, v, row, channel, channels)   statements that apply the codes to v, an lvalue of type T (float, float4,
 *                     ...) holding elements [channel, ...) of `row`; LOAD(p) gives a T from a float pointer
 * The kernel includes pointwise.h. Epilogues of one structure give one text. Returns text, or NULL when count is 0. */
const char *mcl__epilogue_prelude(const mcl__epilogue *epilogue, int first, int count, char text[MCL__PRELUDE_BYTES]);

/* The same for a variant that takes the problem's prologue, beside codes [0, count) of its epilogue; either may be empty:
 *   PROLOGUE_PARAMS   kernel parameters, each with its leading comma: the tensors of the prologue's codes
 *   PROLOGUE_ARGS     the same as arguments, where the kernel hands them to a function of its own that has these parameters
 *   PROLOGUE(T, LOAD, v, channel)   statements that apply the codes to v, an lvalue of type T that holds elements
 *                     [channel, ...) of a row of in[0]; not for padding, which is 0 behind them */
const char *mcl__problem_prelude(const mcl__problem *problem, int count, char text[MCL__PRELUDE_BYTES]);
/* Binds the prologue's tensors in the order of PROLOGUE_PARAMS. */
void mcl__prologue_bind(mcl__lowering *lowering, const mcl__problem *problem);

/* Binds the tensors of codes [first, first + count) in the order of EPILOGUE_PARAMS. */
void mcl__epilogue_bind(mcl__lowering *lowering, const mcl__problem *problem, int first, int count);

/* Checks the codes and tensors of the prologue against in[0], those of the epilogue against out[0], and the number of inputs;
 * adds the outputs of STATS. Called by infer, when out[0] is known. */
mcl_status mcl__epilogue_check(mcl__problem *problem, mcl_error *error);

#endif
