/* The epilogue and prologue of a program whose prelude has none (src/ops/epilogue.h writes it). For kernels only. */
#ifndef MCL_EPILOGUE_H
#define MCL_EPILOGUE_H

#ifndef EPILOGUE
#define EPILOGUE_PARAMS
#define EPILOGUE(T, LOAD, v, row, channel, channels)
#endif
#ifdef PROLOGUE
#define PROLOGUED 1
#else
#define PROLOGUED 0
#define PROLOGUE_PARAMS
#define PROLOGUE_ARGS
#define PROLOGUE(T, LOAD, v, channel)
#endif

#define LOAD_ONE(p) (*(p))

#endif
