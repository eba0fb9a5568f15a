/* The model's slabs: places of the slots, host access, pending statistics, limits. */
#include "nets.h"

START_TEST(slots_are_aligned_and_grouped)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__model *model = net.model;
    int end = 0, last_group = 0;
    for (int i = 0; i < model->parameters; i++) {
        const mcl__slot *slot = &model->parameter[i];
        ck_assert_int_ge(slot->offset, end);
        ck_assert_uint_eq((uint64_t)slot->offset * sizeof(float) % mcl_device_get_info(device)->alignment, 0);
        ck_assert_int_ge(slot->group, last_group);
        ck_assert_int_ge(slot->offset, model->group_offset[slot->group]);
        end = slot->offset + mcl__shape_elements(slot->shape);
        ck_assert_int_le(end, model->group_offset[slot->group] + model->group_elements[slot->group]);
        last_group = slot->group;
    }
    ck_assert_int_eq(model->group_offset[1], model->group_elements[0]);
    ck_assert_int_eq(model->group_elements[0] + model->group_elements[1], model->value.elements);
    ck_assert_int_eq(model->gradient.elements, model->value.elements);
    ck_assert_int_eq(model->state[0].elements, model->value.elements);
    ck_assert_ptr_null(model->state[1].buffer);
    ck_assert_ptr_null(model->accumulated.buffer);
    net_destroy(&net);
}
END_TEST

START_TEST(host_reads_what_it_wrote)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__model *model = net.model;
    const mcl__slot *slot = &model->parameter[mcl__model_find(model->parameter, model->parameters, "bn3.bias")];
    float six[6] = {1, 2, 3, 4, 5, 6}, back[6];
    uint64_t generation = model->generation;
    ck_assert_int_eq(mcl__model_write(model, &model->value, slot, six), MCL_OK);
    ck_assert_uint_gt(model->generation, generation);
    ck_assert_int_eq(mcl__model_read(&model->value, slot, back), MCL_OK);
    ck_assert_mem_eq(six, back, sizeof six);
    ck_assert_int_eq(mcl__model_read(&model->gradient, slot, back), MCL_OK);
    for (int i = 0; i < 6; i++) ck_assert_float_eq(back[i], 0);

    slot = &model->running[mcl__model_find(model->running, model->runnings, "bn3.running_mean")];
    generation = model->generation;
    ck_assert_int_eq(mcl__model_write(model, &model->running_value, slot, six), MCL_OK);
    ck_assert_int_eq(mcl__model_read(&model->pending, slot, back), MCL_OK);
    ck_assert_mem_eq(six, back, sizeof six);
    ck_assert_uint_eq(model->generation, generation);
    ck_assert_int_eq(mcl__model_find(model->running, model->runnings, "bn9"), -1);

    mcl_state state;
    ck_assert_int_eq(mcl__model_record(model, &state), MCL_OK);
    ck_assert_int_eq(state.first_bad, 0);
    net_destroy(&net);
}
END_TEST

START_TEST(impossible_models_are_refused)
{
    TEST_DEVICE(device);
    mcl_device_info *info = &device->info;
    uint64_t limit = info->max_allocation;
    mcl__model *model;
    mcl_error error = {0};
    mcl__slot slot = {.name = "big.weight", .shape = {2, {1024, 1024}}};
    info->max_allocation = 1 << 20;
    ck_assert_int_eq(mcl__model_create(device, &slot, 1, NULL, 0, &net_sgd, &model, &error), MCL_ERROR_MEMORY);
    info->max_allocation = limit;
    ck_assert_ptr_null(model);
    ck_assert_msg(strstr(error.text, "4.0 MiB") && strstr(error.text, "1.0 MiB"), "%s", error.text);

    error = (mcl_error){0};
    slot.shape = SHAPE(3, 0);
    ck_assert_int_eq(mcl__model_create(device, &slot, 1, NULL, 0, &net_sgd, &model, &error), MCL_ERROR_SHAPE);
    ck_assert_msg(strstr(error.text, "big.weight"), "%s", error.text);

    mcl__slot many[3] = {{.name = "a", .shape = {2, {1 << 15, 1 << 15}}}, {.name = "b", .shape = {2, {1 << 15, 1 << 15}}},
                         {.name = "c", .shape = {1, {1}}}};
    error = (mcl_error){0};
    ck_assert_int_eq(mcl__model_create(device, many, 3, NULL, 0, &net_sgd, &model, &error), MCL_ERROR_SHAPE);

    error = (mcl_error){0};
    slot = (mcl__slot){.name = "stray", .shape = {1, {4}}, .group = 5};
    ck_assert_int_eq(mcl__model_create(device, &slot, 1, NULL, 0, &net_sgd, &model, &error), MCL_ERROR_INVALID);
    ck_assert_int_eq(mcl_device_error(device)->status, MCL_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model");
    TCase *tcase = tcase_create("devices");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, slots_are_aligned_and_grouped, 0, DEVICES);
    tcase_add_loop_test(tcase, host_reads_what_it_wrote, 0, DEVICES);
    tcase_add_loop_test(tcase, impossible_models_are_refused, 0, DEVICES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
