/* A process that compiles kernels for another one: the program `monocle`, started by the library as
 * `monocle --compile VERSION SELECTOR [KERNELS]`. See opencl/helpers.c. */
#ifndef MCL_DEVICE_HELPER_H
#define MCL_DEVICE_HELPER_H

#define MCL__HELPER_WORD "--compile" /* no user's word */

/* Serves whoever is at the other end of its standard input until they have no more to ask; the exit status. argv[0] is the word.
 * Whoever calls it leaves by _exit(): drivers have nothing to put in order, and take a while to do so. */
int mcl__helper_run(int argc, char **argv);

#endif
