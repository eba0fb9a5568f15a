/* What of this machine the process may use: a control group, such as a container's, may allow less than there is. */
#ifndef MCL_BASE_MACHINE_H
#define MCL_BASE_MACHINE_H
#include <stdint.h>

int mcl__usable_cpus(void);         /* those that the process may run on, at least 1 */
double mcl__cpu_quota(void);        /* how many of them a control group's time is worth; without one, more than there are */
uint64_t mcl__usable_memory(void);  /* bytes; 0: not known */
#endif
