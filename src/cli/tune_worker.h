/* The worker of `monocle tune`: this program again, which compiles and runs what may hang or crash. */
#ifndef MCL_CLI_TUNE_WORKER_H
#define MCL_CLI_TUNE_WORKER_H
#include "train/tune.h"
#include <sys/types.h>

#define MCL__WORKER_WORD "--worker" /* `monocle tune --worker` is one; no user's word */

/* What a worker is told first: the device, as the one who asks has opened it. */
typedef struct mcl__worker_device { char selector[16], gemm[16]; int threads; } mcl__worker_device;
/* And then, again and again. */
typedef struct mcl__worker_request {
    mcl__problem problem;
    int count;
    char choice[MCL__MOST_CHOICES][MCL__CHOICE];
} mcl__worker_request;

int mcl__worker_run(void); /* in the worker: serves until nobody asks any more; the exit status */

typedef struct mcl__worker { pid_t process; int to, from; } mcl__worker; /* process 0: none */

mcl_status mcl__worker_start(const mcl__worker_device *device, mcl__worker *worker, mcl_error *error);
/* Kills it, or where it `ended` hears how (may be NULL): "crashes: Segmentation fault". True where another has ended it, as a
 * system short of memory does: that says nothing of its work. */
bool mcl__worker_stop(mcl__worker *worker, bool ended, char how[80]);
bool mcl__worker_ask(const mcl__worker *worker, const mcl__worker_request *request);

typedef enum mcl__heard { MCL__HEARD_NEWS, MCL__HEARD_NOTHING, MCL__HEARD_END, MCL__HEARD_SIGNAL } mcl__heard;
/* Waits for news for so many seconds: the time is over, the worker has ended, or a signal came. */
mcl__heard mcl__worker_listen(const mcl__worker *worker, double seconds, mcl__tune_news *news);
#endif
