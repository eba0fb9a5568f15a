/* The oracle's optimisers and bookkeeping. Their outputs start from what they held (oracle->initial). Struct outputs
 * are checked word by word: element i is the i-th 4 bytes. */
#include "ops/oracle/family.h"
#include <stdlib.h>

enum { HISTORY_WORD = offsetof(mcl_state, history) / 4, OUTCOME_WORDS = sizeof(mcl_outcome) / 4 };
enum { LOSS_SUM, HITS, GRADIENT_NORM, STEP };

/* Which field of history[slot] a word is, or -1. */
static int field_of(int64_t word, int slot)
{
    int64_t field = word - HISTORY_WORD - (int64_t)slot * OUTCOME_WORDS;
    return field >= 0 && field < OUTCOME_WORDS ? (int)field : -1;
}

static bool state_word_is_whole(int output, int64_t word)
{
    (void)output;
    return word < HISTORY_WORD || (word - HISTORY_WORD) % OUTCOME_WORDS == STEP;
}

static double state_word(const mcl_state *state, int64_t word)
{
    if (state_word_is_whole(0, word)) return ((const int32_t *)state)[word];
    return ((const float *)state)[word];
}

static mcl__approx outcome(const mcl__oracle *oracle, int output, int64_t word)
{
    (void)output;
    const mcl_step *step = oracle->step;
    double before = state_word(oracle->initial[0], word);
    int field = field_of(word, step->slot);
    if (field == STEP) return mcl__exact(step->step);
    if (field != LOSS_SUM && field != HITS) return mcl__exact(before);
    double sum = step->micro_batch > 0 ? before : 0, magnitude = fabs(sum);
    int rows = oracle->problem.in[0].d[0];
    for (int r = 0; r < rows; r++) {
        double term = mcl__oracle_in(oracle, field == LOSS_SUM ? 0 : 1, r);
        sum += term, magnitude += fabs(term);
    }
    return field == HITS ? mcl__exact(sum) : mcl__sum(sum, magnitude, rows + 1, 0);
}

static int64_t terms_of(const mcl__oracle *oracle)
{
    mcl__shape x = oracle->problem.in[0];
    int64_t terms = 1;
    for (int i = 0; i < x.rank; i++) terms *= x.d[i];
    return terms;
}

static mcl_status prepare_squares(mcl__oracle *oracle, mcl_error *error)
{
    oracle->prepared = calloc(1, sizeof *oracle->prepared);
    if (!oracle->prepared) return mcl__fail(error, MCL_ERROR_MEMORY, "the oracle's norm");
    int first = 0, known = 0;
    if (oracle->problem.op == MCL__OP_guard) first = oracle->problem.attrs.guard.first, known = oracle->problem.attrs.guard.known;
    for (int64_t i = 0; i < terms_of(oracle); i++)
        if (i < first || i - first >= known) *oracle->prepared += mcl__oracle_in(oracle, 0, i) * mcl__oracle_in(oracle, 0, i);
    if (known > 0) *oracle->prepared += mcl__oracle_in(oracle, 2, 0);
    return MCL_OK;
}

static mcl__approx square_sum(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output, (void)index;
    double squares = *oracle->prepared;
    return mcl__sum(squares, squares, (double)terms_of(oracle), 1);
}

static mcl__approx guard(const mcl__oracle *oracle, int output, int64_t word)
{
    (void)output;
    const mcl_state *state = oracle->initial[0];
    const mcl_step *step = oracle->step;
    double squares = *oracle->prepared;
    if (field_of(word, step->slot) == GRADIENT_NORM)
        return mcl__square_root(mcl__sum(squares, squares, (double)terms_of(oracle), 1));
    if (word != 0 || state->first_bad != 0) return mcl__exact(state_word(state, word));
    bool bad = !isfinite(squares) || !isfinite(state->history[step->slot].loss_sum);
    return mcl__exact(bad ? step->step : 0);
}

static mcl__approx accumulate(const mcl__oracle *oracle, int output, int64_t index)
{
    mcl__approx g = mcl__exact(mcl__oracle_in(oracle, 0, index));
    return oracle->step->micro_batch == 0 ? g : mcl__add(mcl__exact(mcl__oracle_initial(oracle, output, index)), g);
}

static mcl__approx commit(const mcl__oracle *oracle, int output, int64_t index)
{
    return mcl__exact(oracle->state->first_bad ? mcl__oracle_initial(oracle, output, index)
                                               : mcl__oracle_in(oracle, 0, index));
}

/* PyTorch's SGD; output 0 is the parameter, 1 its momentum. */
static mcl__approx sgd(const mcl__oracle *oracle, int output, int64_t index)
{
    const mcl__attrs *attrs = &oracle->problem.attrs;
    mcl__approx p = mcl__exact(mcl__oracle_initial(oracle, 0, index)),
                m = mcl__exact(mcl__oracle_initial(oracle, 1, index));
    mcl__approx before = output == 0 ? p : m;
    if (oracle->state->first_bad || index < attrs->sgd.offset || index - attrs->sgd.offset >= attrs->sgd.n)
        return before;
    mcl__approx momentum = mcl__exact((double)attrs->sgd.momentum);
    mcl__approx g = mcl__exact(mcl__oracle_in(oracle, 0, index));
    if (attrs->sgd.decay != 0) g = mcl__add(g, mcl__multiply(mcl__exact((double)attrs->sgd.decay), p));
    if (momentum.value != 0) {
        mcl__approx fresh = mcl__multiply(mcl__subtract(mcl__exact(1), mcl__exact((double)attrs->sgd.dampening)), g);
        m = oracle->step->step == 1 ? g : mcl__add(mcl__multiply(momentum, m), fresh);
        g = attrs->sgd.nesterov ? mcl__add(g, mcl__multiply(momentum, m)) : m;
    }
    mcl__approx rate = mcl__exact((double)oracle->step->group[attrs->sgd.group].learning_rate);
    return output == 0 ? mcl__subtract(p, mcl__multiply(rate, g)) : m;
}

/* PyTorch's Adam and AdamW; outputs: parameter, first moment, second moment. */
static mcl__approx adam(const mcl__oracle *oracle, int output, int64_t index)
{
    const mcl__attrs *attrs = &oracle->problem.attrs;
    if (oracle->state->first_bad || index < attrs->adam.offset || index - attrs->adam.offset >= attrs->adam.n)
        return mcl__exact(mcl__oracle_initial(oracle, output, index));
    const mcl_step_group *group = &oracle->step->group[attrs->adam.group];
    mcl__approx one = mcl__exact(1), rate = mcl__exact((double)group->learning_rate);
    mcl__approx beta1 = mcl__exact((double)attrs->adam.beta1), beta2 = mcl__exact((double)attrs->adam.beta2);
    mcl__approx decay = mcl__exact((double)attrs->adam.decay);
    mcl__approx p = mcl__exact(mcl__oracle_initial(oracle, 0, index)), g = mcl__exact(mcl__oracle_in(oracle, 0, index));
    mcl__approx m = mcl__exact(mcl__oracle_initial(oracle, 1, index)),
                v = mcl__exact(mcl__oracle_initial(oracle, 2, index));
    if (attrs->adam.decoupled) p = mcl__subtract(p, mcl__multiply(mcl__multiply(rate, decay), p));
    else g = mcl__add(g, mcl__multiply(decay, p));
    m = mcl__add(mcl__multiply(beta1, m), mcl__multiply(mcl__subtract(one, beta1), g));
    v = mcl__add(mcl__multiply(beta2, v), mcl__multiply(mcl__subtract(one, beta2), mcl__multiply(g, g)));
    if (output > 0) return output == 1 ? m : v;
    mcl__approx corrected1 = mcl__multiply(m, mcl__exact((double)group->bias_correction1));
    mcl__approx corrected2 = mcl__multiply(v, mcl__exact((double)group->bias_correction2));
    mcl__approx denominator = mcl__add(mcl__square_root(corrected2), mcl__exact((double)attrs->adam.eps));
    return mcl__subtract(p, mcl__multiply(rate, mcl__divide(corrected1, denominator)));
}

const mcl__oracle_family mcl__oracle_outcome = {.inputs = 3, .value = outcome, .whole = state_word_is_whole};
const mcl__oracle_family mcl__oracle_square_sum = {.inputs = 1, .prepare = prepare_squares, .value = square_sum};
const mcl__oracle_family mcl__oracle_guard = {
    .inputs = -1, .prepare = prepare_squares, .value = guard, .whole = state_word_is_whole};
const mcl__oracle_family mcl__oracle_accumulate = {.inputs = 2, .value = accumulate};
const mcl__oracle_family mcl__oracle_sgd = {.inputs = 3, .value = sgd};
const mcl__oracle_family mcl__oracle_adam = {.inputs = 3, .value = adam};
const mcl__oracle_family mcl__oracle_commit = {.inputs = 2, .value = commit};
