/* Products through CLBlast train as our own kernels do. */
#include "train/harness.h"

enum { STEPS = 4 };
/* Rates at which rounding grows slowly: at 0.001, moving MobileNetV2's first weights by one unit in the last place moves the fifth
 * loss by a part in a hundred, on one device. */
static const struct { const char *network; int batch; float rate; } cases[] = {{"mlp", 16, 0.05f}, {"mobilenet_v2", 8, 1e-5f}};

/* Losses of a few steps; returns how many products a library serves. */
static int train(mcl_device *device, const char *name, int batch, float rate, double *loss)
{
    mcl_network *network = network_named(name);
    mcl_dataset *data = strcmp(name, "mlp") == 0 ? open_fashion(200, 0) : open_cifar();
    mcl_train_options options = mcl_train_defaults();
    options.batch = batch;
    options.learning_rate = rate;
    options.momentum = 0;
    options.seed = 1;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    trainer_run_steps(trainer, STEPS);
    trainer_losses(trainer, STEPS, loss);
    int products = mcl__plan_get_statistics(trainer->train.plan).products;
    mcl_trainer_destroy(trainer);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
    return products;
}

static double worst_loss(const double *a, const double *b)
{
    double worst = 0;
    for (int i = 0; i < STEPS; i++) worst = fmax(worst, fabs(a[i] - b[i]) / b[i]);
    return worst;
}

START_TEST(same_losses)
{
    static const char *const gemm[] = {"clblast", "own"};
    const char *name = cases[_i].network, *why = "";
    int batch = cases[_i].batch, products[2];
    float rate = cases[_i].rate;
    double loss[2][STEPS], native[STEPS];
    mcl_error error = {0};
    for (int i = 0; i < 2; i++) {
        mcl_device *device;
        EXPECT(mcl_device_open(opencl_selector(), &(mcl_device_options){.gemm = gemm[i]}, &device, &error), error);
        if (i == 0) ck_assert_msg(mcl__gemm_available(device, &why), "CLBlast does not serve here: %s", why);
        products[i] = train(device, name, batch, rate, loss[i]);
        mcl_device_close(device);
    }
    train(test_device(NATIVE), name, batch, rate, native);
    double of_own = worst_loss(loss[0], loss[1]), of_native = worst_loss(loss[0], native);
    printf("  %-12s: CLBlast serves %d products; losses off from our own kernels by %.1e, from native by %.1e\n", name, products[0],
           of_own, of_native);
    ck_assert_int_gt(products[0], 0);
    ck_assert_int_eq(products[1], 0);
    ck_assert_double_le(of_own, 1e-4);
    ck_assert_double_le(of_native, 1e-4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clblast");
    TCase *tests = tcase_create("clblast");
    mcl__ops_register_native();
    tcase_add_loop_test(tests, same_losses, 0, COUNT(cases));
    suite_add_tcase(suite, tests);
    return run_suite(suite, true);
}
