/* See machine.h. Of control groups, those of version 2, as a container sees its own. */
#include "base/machine.h"
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

int mcl__usable_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}

double mcl__cpu_quota(void)
{
    double time, period;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    bool limited = file && fscanf(file, "%lf %lf", &time, &period) == 2 && period > 0;
    if (file) fclose(file);
    return limited ? time / period : 1e9;
}

uint64_t mcl__usable_memory(void)
{
    uint64_t limit;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "r");
    bool limited = file && fscanf(file, "%" SCNu64, &limit) == 1; /* "max" is no number */
    if (file) fclose(file);
    return limited && (!memory || limit < memory) ? limit : memory;
}
