/* Defaults of the training options, and the schedules: constant, step and cosine, each after an optional linear warm-up. */
#include "train/schedule.h"
#include "base/error.h"
#include <math.h>

mcl_train_options mcl_train_defaults(void)
{
    return (mcl_train_options){.momentum = 0.9f};
}

#define DEFAULT(member, value) \
    if (o.member == 0) o.member = (value)

#define REQUIRE(condition, text) \
    if (!(condition)) return mcl__fail(error, MCL_ERROR_INVALID, text)

mcl_status mcl__train_options_resolve(const mcl_train_options *given, mcl_train_options *resolved, mcl_error *error)
{
    mcl_train_options o = given ? *given : mcl_train_defaults();
    DEFAULT(epochs, 10);
    DEFAULT(batch, 64);
    DEFAULT(micro_batches, 1);
    DEFAULT(learning_rate, o.optimiser == MCL_SGD ? 0.01f : 0.001f);
    DEFAULT(beta1, 0.9f);
    DEFAULT(beta2, 0.999f);
    DEFAULT(eps, 1e-8f);
    DEFAULT(step_factor, 0.1f);
    DEFAULT(step_epochs, o.epochs / 3 > 0 ? o.epochs / 3 : 1);
    DEFAULT(checkpoint_seconds, 60);
    REQUIRE((unsigned)o.optimiser <= MCL_ADAMW, "there is no such optimiser");
    REQUIRE((unsigned)o.schedule <= MCL_SCHEDULE_COSINE, "there is no such schedule");
    REQUIRE((unsigned)o.recompute <= MCL_RECOMPUTE_OFF, "there is no such way to recompute");
    REQUIRE((unsigned)o.residence <= MCL_RESIDENCE_STREAM, "there is no such residence");
    REQUIRE(o.epochs > 0, "epochs must be at least 1");
    REQUIRE(o.batch > 0, "batch must be at least 1");
    REQUIRE(o.micro_batches > 0 && o.batch % o.micro_batches == 0, "micro_batches must divide batch");
    REQUIRE(isfinite(o.learning_rate) && o.learning_rate > 0, "learning_rate must be a positive number");
    REQUIRE(o.momentum >= 0 && o.momentum < 1, "momentum must be in [0, 1)");
    REQUIRE(o.dampening >= 0 && o.dampening <= 1, "dampening must be in [0, 1]");
    REQUIRE(!o.nesterov || (o.momentum > 0 && o.dampening == 0), "nesterov needs momentum, and no dampening");
    REQUIRE(o.beta1 > 0 && o.beta1 < 1 && o.beta2 > 0 && o.beta2 < 1, "beta1 and beta2 must be in (0, 1)");
    REQUIRE(o.eps > 0 && isfinite(o.eps), "eps must be positive");
    REQUIRE(o.weight_decay >= 0 && isfinite(o.weight_decay), "weight_decay must not be negative");
    REQUIRE(o.warmup_epochs >= 0 && isfinite(o.warmup_epochs), "warmup_epochs must not be negative");
    REQUIRE(o.final_fraction >= 0 && o.final_fraction <= 1, "final_fraction must be in [0, 1]");
    REQUIRE(o.step_factor > 0 && o.step_epochs > 0, "step_factor and step_epochs must be positive");
    REQUIRE(o.crop >= 0, "crop must not be negative");
    REQUIRE(o.checkpoint_steps >= 0 && o.max_steps >= 0, "checkpoint_steps and max_steps must not be negative");
    REQUIRE(!o.resume || o.run, "resume needs the run's folder");
    *resolved = o;
    return MCL_OK;
}

double mcl__learning_rate(const mcl_train_options *options, int step, int steps_per_epoch)
{
    double rate = options->learning_rate;
    double done = step - 1, total = (double)options->epochs * steps_per_epoch;
    double warmup = options->warmup_epochs * (double)steps_per_epoch;
    if (done < warmup) return rate * (done + 1) / warmup < rate ? rate * (done + 1) / warmup : rate;
    if (options->schedule == MCL_SCHEDULE_STEP)
        return rate * pow(options->step_factor, floor(done / ((double)options->step_epochs * steps_per_epoch)));
    if (options->schedule == MCL_SCHEDULE_COSINE) {
        double progress = total > warmup ? (done - warmup) / (total - warmup) : 0;
        double low = rate * options->final_fraction;
        return low + (rate - low) * 0.5 * (1 + cos(3.14159265358979323846 * (progress < 1 ? progress : 1)));
    }
    return rate;
}

mcl_step_group mcl__step_group(const mcl_train_options *options, int step, int steps_per_epoch)
{
    return (mcl_step_group){
        .learning_rate = (float)mcl__learning_rate(options, step, steps_per_epoch),
        .bias_correction1 = (float)(1 / (1 - pow(options->beta1, step))),
        .bias_correction2 = (float)(1 / (1 - pow(options->beta2, step))),
    };
}
