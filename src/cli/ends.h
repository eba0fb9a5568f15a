/* The signals that end a program: Ctrl-C, kill, and a terminal that goes away. One that is ignored stays so, as whoever started the
 * program in the background wants it. */
#ifndef MCL_CLI_ENDS_H
#define MCL_CLI_ENDS_H
#include <signal.h>

enum { MCL__ENDS = 3 };

/* before: what they did until now, to go back to. */
void mcl__ends_catch(void (*handler)(int), struct sigaction before[MCL__ENDS]);
void mcl__ends_release(const struct sigaction before[MCL__ENDS]);
#endif
