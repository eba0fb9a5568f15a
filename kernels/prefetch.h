/* PREFETCH(p) asks for what stands at p, which will be read soon and need not exist. builtins.h defines it where it is known to
 * do something. For kernels only. */
#ifndef MCL_PREFETCH_H
#define MCL_PREFETCH_H

#ifndef PREFETCH
#define PREFETCH(p)
#endif

#endif
