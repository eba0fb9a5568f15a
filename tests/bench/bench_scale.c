/* Training steps at several sizes, in turns within one process, so that what else the machine does meets all of them alike:
 *   bench_scale NETWORK DEVICE ROUNDS TURN BATCH:PICTURES...
 * trains on as many made-up pictures as each size says. A turn is TURN pictures, its steps enqueued one after another as training
 * does. Prints a line for each turn: SIZE, counted from 0, and microseconds a picture. */
#include "bench/measure.h"
#include "train/rig.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST_SIZES = 8, MOST_STEPS = 1024 };

static double microseconds_a_picture(mcl__rig *rig, int turn)
{
    static double host[MOST_STEPS];
    int batch = rig->options.batch, steps = turn < batch ? 1 : turn / batch;
    double seconds;
    if (steps > MOST_STEPS) steps = MOST_STEPS;
    if (mcl__rig_steps(rig, steps, host, &seconds) != MCL_OK) bench_stop("steps", mcl_device_error(rig->device));
    return 1e6 * seconds / steps / batch;
}

int main(int argc, char **argv)
{
    mcl_error error = {0};
    mcl_network *network;
    mcl_device *device;
    mcl__rig rig[MOST_SIZES] = {0};
    int sizes = argc - 5;
    if (sizes < 1 || sizes > MOST_SIZES) bench_stop("bench_scale NETWORK DEVICE ROUNDS TURN BATCH:PICTURES..., at most 8", NULL);
    int rounds = atoi(argv[3]), turn = atoi(argv[4]);
    if (mcl_network_by_name(argv[1], 0, 0, 0, 0, &network, &error) != MCL_OK) bench_stop("network", &error);
    if (mcl_device_open(argv[2], NULL, &device, &error) != MCL_OK) bench_stop("device", &error);
    for (int i = 0; i < sizes; i++) {
        mcl_train_options train = {.learning_rate = 0.01f, .momentum = 0.9f, .weight_decay = 5e-4f};
        int pictures;
        if (sscanf(argv[5 + i], "%d:%d", &train.batch, &pictures) != 2 || train.batch < 1 || pictures < train.batch)
            bench_stop("a size is BATCH:PICTURES, no batch larger than its pictures", NULL);
        rig[i].device = device, rig[i].network = network;
        if (mcl__rig_create(&rig[i], &train, pictures, &error) != MCL_OK || mcl__rig_plan(&rig[i], &error) != MCL_OK)
            bench_stop(argv[5 + i], &error);
        microseconds_a_picture(&rig[i], turn);
    }
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < sizes; i++) printf("%d %.2f\n", i, microseconds_a_picture(&rig[i], turn));
    for (int i = 0; i < sizes; i++) mcl__rig_destroy(&rig[i]);
    mcl_device_close(device);
    mcl_network_destroy(network);
}
