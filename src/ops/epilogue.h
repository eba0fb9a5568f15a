/* Epilogues as kernels see them: generated text that applies an ordered list of point-wise codes to a value. */
#ifndef MCL_OPS_EPILOGUE_H
#define MCL_OPS_EPILOGUE_H
#include "ops/op.h"

#define MCL__PRELUDE_BYTES 2048

/* How many of the epilogue's codes, from `first` on, a prelude can hold: those before the first DROPOUT. (A dropout's stream
 * is a number of its layer; in the text it would make a program for each layer.) */
int mcl__epilogue_plain(const mcl__epilogue *epilogue, int first);

/* Writes the prelude of codes [first, first + count), none of them DROPOUT:
 *   EPILOGUE_PARAMS   kernel parameters, each with its leading comma: the codes' tensors in order
 *   EPILOGUE(T, LOAD, v, row, channel, channels)   statements that apply the codes to v, an lvalue of type T (float, float4,
 *                     ...) holding elements [channel, ...) of `row`; LOAD(p) gives a T from a float pointer
 * The kernel includes pointwise.h. Epilogues of one structure give one text. Returns text, or NULL when count is 0. */
const char *mcl__epilogue_prelude(const mcl__epilogue *epilogue, int first, int count, char text[MCL__PRELUDE_BYTES]);

/* Binds the tensors of codes [first, first + count) in the order of EPILOGUE_PARAMS. */
void mcl__epilogue_bind(mcl__lowering *lowering, const mcl__problem *problem, int first, int count);

/* Checks the tensors that the epilogue's codes take against out[0], and the number of inputs. Called by infer. */
mcl_status mcl__epilogue_check(const mcl__problem *problem, mcl_error *error);

#endif
