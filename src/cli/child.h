/* This program again, as a process that does what this one should not do itself, and tells of it through a pipe. Structs travel as
 * they are: both ends are one program. */
#ifndef MCL_CLI_CHILD_H
#define MCL_CLI_CHILD_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { MCL__CHILD_NEWS = 3 }; /* the file that a child tells its news on: stdout is the drivers' to chatter on */

/* Starts it with these arguments (the last is NULL), standard input and end of the pipe; 0, or an errno. */
int mcl__child_spawn(char *const arguments[], int input, int news, pid_t *process);
/* In a child: it bears the program's name, and does not outlive who started it. */
void mcl__child_begin(void);
/* All of it, or false. */
bool mcl__read_whole(int file, void *target, size_t bytes);
bool mcl__write_whole(int file, const void *source, size_t bytes);
#endif
