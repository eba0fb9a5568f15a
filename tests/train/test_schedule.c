/* Learning rates against their formulas, the options' checks, and optimisers through the trainer against a plain loop in double
 * precision on a network of one dense layer. */
#include "train/harness.h"

enum { EPOCHS = 12, STEPS = 7 /* an epoch */ };
static const double pi = 3.14159265358979323846;

typedef struct rate_case {
    const char *name;
    mcl_schedule_kind kind;
    float warmup, factor, last;
    int step_epochs;
} rate_case;

static const rate_case rate_cases[] = {
    {"constant", MCL_SCHEDULE_CONSTANT, 0, 0, 0, 0},      {"constant, warm-up", MCL_SCHEDULE_CONSTANT, 2, 0, 0, 0},
    {"step", MCL_SCHEDULE_STEP, 0, 0.5f, 0, 3},           {"step, defaults", MCL_SCHEDULE_STEP, 0, 0, 0, 0},
    {"step, warm-up", MCL_SCHEDULE_STEP, 1.5f, 0.25f, 0, 5}, {"cosine", MCL_SCHEDULE_COSINE, 0, 0, 0, 0},
    {"cosine, floor", MCL_SCHEDULE_COSINE, 0, 0, 0.125f, 0}, {"cosine, warm-up", MCL_SCHEDULE_COSINE, 0.5f, 0, 0.0625f, 0},
};

/* done: steps before this one. */
static double expected_rate(const rate_case *c, double height, int done)
{
    double warm = (double)c->warmup * STEPS, all = EPOCHS * STEPS;
    if (done < warm) return fmin(height, height * (done + 1) / warm);
    if (c->kind == MCL_SCHEDULE_COSINE) {
        double low = height * (double)c->last;
        return low + (height - low) * (1 + cos(pi * (done - warm) / (all - warm))) / 2;
    }
    double factor = c->factor > 0 ? (double)c->factor : (double)0.1f;
    int every = c->step_epochs ? c->step_epochs : EPOCHS / 3;
    return c->kind == MCL_SCHEDULE_STEP ? height * pow(factor, done / STEPS / every) : height;
}

START_TEST(rates)
{
    const rate_case *c = &rate_cases[_i];
    mcl_error error = {0};
    mcl_train_options given = {.epochs = EPOCHS, .learning_rate = 0.25f, .schedule = c->kind, .warmup_epochs = c->warmup,
                               .step_factor = c->factor, .final_fraction = c->last, .step_epochs = c->step_epochs}, resolved;
    EXPECT(mcl__train_options_resolve(&given, &resolved, &error), error);
    for (int step = 1; step <= EPOCHS * STEPS; step++) {
        double rate = mcl__learning_rate(&resolved, step, STEPS), expected = expected_rate(c, 0.25, step - 1);
        ck_assert_msg(fabs(rate - expected) <= 1e-12, "%s: step %d has %.17g, not %.17g", c->name, step, rate, expected);
        mcl_step_group group = mcl__step_group(&resolved, step, STEPS);
        ck_assert(group.learning_rate == (float)rate);
        ck_assert(group.bias_correction1 == (float)(1 / (1 - pow((double)0.9f, step))));
        ck_assert(group.bias_correction2 == (float)(1 / (1 - pow((double)0.999f, step))));
    }
    ck_assert(mcl__learning_rate(&resolved, EPOCHS * STEPS + 100, STEPS) >= 0); /* a run that was lengthened and shortened again */
}
END_TEST

static const struct { const char *name; mcl_train_options options; } refused[] = {
    {"epochs", {.epochs = -1}},
    {"batch", {.batch = -2}},
    {"micro_batches", {.batch = 10, .micro_batches = 3}},
    {"learning_rate", {.learning_rate = -1}},
    {"learning_rate", {.learning_rate = NAN}},
    {"momentum", {.momentum = 1}},
    {"nesterov", {.nesterov = true}},
    {"nesterov", {.nesterov = true, .momentum = 0.9f, .dampening = 0.5f}},
    {"beta1", {.optimiser = MCL_ADAM, .beta1 = 1}},
    {"eps", {.optimiser = MCL_ADAM, .eps = -1}},
    {"weight_decay", {.weight_decay = -1}},
    {"warmup_epochs", {.warmup_epochs = INFINITY}},
    {"final_fraction", {.final_fraction = 2}},
    {"crop", {.crop = -1}},
    {"resume", {.resume = true}},
};

START_TEST(refusals)
{
    mcl_error error = {0};
    mcl_train_options resolved;
    ck_assert_int_eq(mcl__train_options_resolve(&refused[_i].options, &resolved, &error), MCL_ERROR_INVALID);
    ck_assert_msg(strstr(error.text, refused[_i].name) != NULL, "no \"%s\" in: %s", refused[_i].name, error.text);
}
END_TEST

/* --- Optimisers --------------------------------------------------------------------------------------------------------- */

enum { INPUTS = 32 * 32 * 3, CLASSES = 10, BATCH = 20, TRAINED = 12, WEIGHTS = INPUTS * CLASSES, VALUES = WEIGHTS + CLASSES };

static const struct { const char *name; mcl_train_options options; } optimisers[] = {
    {"sgd", {.optimiser = MCL_SGD, .learning_rate = 1e-3f}},
    {"sgd, momentum", {.optimiser = MCL_SGD, .learning_rate = 1e-3f, .momentum = 0.9f, .weight_decay = 0.01f}},
    {"sgd, dampening", {.optimiser = MCL_SGD, .learning_rate = 1e-3f, .momentum = 0.8f, .dampening = 0.5f}},
    {"sgd, nesterov", {.optimiser = MCL_SGD, .learning_rate = 1e-3f, .momentum = 0.9f, .nesterov = true, .weight_decay = 0.01f,
                       .decay_weights_only = true}},
    {"adam", {.optimiser = MCL_ADAM, .weight_decay = 0.01f}},
    {"adam, betas", {.optimiser = MCL_ADAM, .beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-4f}},
    {"adamw", {.optimiser = MCL_ADAMW, .weight_decay = 0.1f, .decay_weights_only = true}},
};

typedef struct loop {
    double value[VALUES], gradient[VALUES], first[VALUES], second[VALUES]; /* weights (INPUTS, CLASSES), then biases */
    double x[BATCH][INPUTS];
    int label[BATCH];
} loop;

static void loop_batch(loop *l, mcl_dataset *data, const mcl_preprocessing *p, const int32_t *order, int first)
{
    static uint8_t pixels[BATCH * INPUTS];
    ck_assert_int_eq(mcl_dataset_read(data, order + first, BATCH, pixels, NULL), MCL_OK);
    for (int n = 0; n < BATCH; n++) {
        l->label[n] = mcl_dataset_label(data, order[first + n]);
        for (int i = 0; i < INPUTS; i++)
            l->x[n][i] = ((double)pixels[n * INPUTS + i] - (double)p->mean[i % 3]) * (double)p->inverse_deviation[i % 3];
    }
}

/* Softmax cross-entropy of x W + b: the mean loss, and its gradient. */
static double loop_gradient(loop *l)
{
    double loss = 0;
    memset(l->gradient, 0, sizeof l->gradient);
    for (int n = 0; n < BATCH; n++) {
        double z[CLASSES], sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            z[c] = l->value[WEIGHTS + c];
            for (int i = 0; i < INPUTS; i++) z[c] += l->x[n][i] * l->value[i * CLASSES + c];
            sum += exp(z[c]);
        }
        loss += (log(sum) - z[l->label[n]]) / BATCH;
        for (int c = 0; c < CLASSES; c++) {
            double d = (exp(z[c]) / sum - (c == l->label[n])) / BATCH;
            l->gradient[WEIGHTS + c] += d;
            for (int i = 0; i < INPUTS; i++) l->gradient[i * CLASSES + c] += d * l->x[n][i];
        }
    }
    return loss;
}

/* PyTorch's rules, in double. t counts from 1. */
static void loop_update(loop *l, const mcl_train_options *o, int t, double rate)
{
    for (int i = 0; i < VALUES; i++) {
        double decay = i >= WEIGHTS && o->decay_weights_only ? 0 : (double)o->weight_decay, g = l->gradient[i];
        if (o->optimiser == MCL_ADAMW) l->value[i] -= rate * decay * l->value[i];
        else g += decay * l->value[i];
        if (o->optimiser == MCL_SGD) {
            double momentum = (double)o->momentum;
            l->first[i] = t == 1 ? g : momentum * l->first[i] + (1 - (double)o->dampening) * g;
            if (momentum > 0) g = o->nesterov ? g + momentum * l->first[i] : l->first[i];
            l->value[i] -= rate * g;
            continue;
        }
        double b1 = (double)o->beta1, b2 = (double)o->beta2;
        l->first[i] = b1 * l->first[i] + (1 - b1) * g;
        l->second[i] = b2 * l->second[i] + (1 - b2) * g * g;
        l->value[i] -= rate * (l->first[i] / (1 - pow(b1, t))) / (sqrt(l->second[i] / (1 - pow(b2, t))) + (double)o->eps);
    }
}

static mcl_network *network_dense(void)
{
    mcl_error error = {0};
    mcl_network *net = mcl_network_create("dense");
    mcl_tensor x = mcl_flatten(net, mcl_input(net, 32, 32, 3), NULL);
    x = mcl_dense(net, x, &(mcl_dense_options){.name = "fc", .units = CLASSES});
    EXPECT(mcl_network_finish(net, x, &error), error);
    return net;
}

START_TEST(optimiser)
{
    mcl_device *device = test_device(_i / COUNT(optimisers));
    if (!device) return;
    static loop l;
    int which = _i % COUNT(optimisers), elements, order_count = 0;
    mcl_train_options options = optimisers[which].options;
    options.epochs = 3;
    options.batch = BATCH;
    options.seed = 21;
    options.schedule = MCL_SCHEDULE_COSINE;
    options.warmup_epochs = 0.5f;
    mcl_network *network = network_dense();
    mcl_dataset *data = open_cifar();
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    mcl__model *model = trainer->model;
    float *start = slab_copy(&model->value, model->parameter, model->parameters, &elements);
    ck_assert_int_eq(elements, VALUES);
    memset(&l, 0, sizeof l);
    for (int i = 0; i < VALUES; i++) l.value[i] = (double)start[i];
    const int32_t *part = mcl_dataset_part(data, MCL_PART_TRAIN, &order_count);
    int32_t *order = malloc((size_t)order_count * sizeof *order);
    double losses[TRAINED], worst_loss = 0, difference = 0, moved = 0;
    trainer_run_steps(trainer, TRAINED);
    trainer_losses(trainer, TRAINED, losses);
    for (int step = 1; step <= TRAINED; step++) {
        int epoch = (step - 1) / trainer->steps_per_epoch, first = (step - 1) % trainer->steps_per_epoch * BATCH;
        mcl__epoch_order(part, order_count, options.seed, (uint32_t)epoch, order);
        loop_batch(&l, data, &trainer->preprocessing, order, first);
        double loss = loop_gradient(&l);
        worst_loss = fmax(worst_loss, fabs(loss - losses[step - 1]) / loss);
        loop_update(&l, &trainer->options, step, mcl__learning_rate(&trainer->options, step, trainer->steps_per_epoch));
    }
    float *end = slab_copy(&model->value, model->parameter, model->parameters, &elements);
    for (int i = 0; i < VALUES; i++) {
        difference += pow((double)end[i] - l.value[i], 2);
        moved += pow(l.value[i] - (double)start[i], 2);
    }
    difference = sqrt(difference / moved);
    printf("  %-14s %-7s: losses off by %.1e, moves of the parameters by %.1e\n", optimisers[which].name,
           device->info.type == MCL_DEVICE_NATIVE ? "native" : "OpenCL", worst_loss, difference);
    ck_assert_double_le(worst_loss, 1e-5);
    ck_assert_double_le(difference, 1e-4);
    free(start);
    free(end);
    free(order);
    mcl_trainer_destroy(trainer);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("schedule");
    TCase *tests = tcase_create("schedule");
    tcase_add_loop_test(tests, rates, 0, COUNT(rate_cases));
    tcase_add_loop_test(tests, refusals, 0, COUNT(refused));
    tcase_add_loop_test(tests, optimiser, 0, DEVICES * COUNT(optimisers));
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
