/* When threads that wait stay awake for a while, for programs that wait by mcl_cond_wait: see <monocle/wait.h>. */
#ifndef MCL_DEVICE_WAIT_H
#define MCL_DEVICE_WAIT_H
#include <stdbool.h>
#include <stdint.h>

/* From here to the end, while a device with so many threads is open. False: they sleep at once, and there is no end to call. */
bool mcl__wait_awake_begin(uint32_t threads);
void mcl__wait_awake_end(void);

#endif
