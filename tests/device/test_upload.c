/* Uploads beside what is computed. A command of the user's, which ends when the test says so, holds up the compute queue; so what
 * is tested does not depend on time. The CPU counts as a device with memory of its own. */
#include "device/opencl/opencl.h"
#include "fixture.h"

enum { WORDS = 1 << 16, BYTES = WORDS * sizeof(uint32_t) };

static mcl_device *open_own_memory(void)
{
    mcl_device *device = open_opencl(NULL);
    device->info.unified_memory = false;
    return device;
}

/* Nothing enqueued from here on begins before *end is set complete. */
static void hold_up(mcl_device *device, cl_event *end)
{
    cl_int code;
    *end = clCreateUserEvent(mcl__cl(device)->context, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    ck_assert_int_eq(clEnqueueBarrierWithWaitList(mcl__cl(device)->queue, 1, end, NULL), CL_SUCCESS);
}

static void let_go(cl_event end)
{
    ck_assert_int_eq(clSetUserEventStatus(end, CL_COMPLETE), CL_SUCCESS);
    clReleaseEvent(end);
}

static void set_words(mcl__staging *staging, uint32_t value)
{
    for (int i = 0; i < WORDS; i++) ((uint32_t *)staging->data)[i] = value;
}

static void expect_words(mcl_buffer *buffer, uint32_t value)
{
    static uint32_t words[WORDS];
    CK_OK(mcl__buffer_device(buffer), mcl_buffer_read(buffer, 0, BYTES, words));
    for (int i = 0; i < WORDS; i++) ck_assert_uint_eq(words[i], value);
}

START_TEST(staging_is_zeros)
{
    for (int own = 0; own < 2; own++) {
        mcl_device *device = own ? open_own_memory() : open_opencl(NULL);
        mcl__staging staging;
        static const unsigned char zeros[BYTES];
        CK_OK(device, mcl__staging_create(device, BYTES, &staging));
        ck_assert_mem_eq(staging.data, zeros, BYTES);
        ck_assert_int_eq(staging.locked != NULL, own);
        ck_assert_uint_eq(mcl_device_get_counters(device).bytes_allocated, 0);
        mcl__staging_destroy(device, &staging);
        mcl__staging_destroy(device, &staging);
        mcl_device_close(device);
    }
}
END_TEST

static void *lock_nothing(mcl_device *device, uint64_t bytes, void **locked)
{
    (void)device;
    (void)bytes;
    (void)locked;
    return NULL;
}

/* A driver that has no memory to lock is no failure. */
START_TEST(staging_falls_back)
{
    mcl_device *device = open_own_memory();
    mcl__backend without = *device->backend;
    const mcl__backend *with = device->backend;
    mcl__staging staging;
    without.lock = lock_nothing;
    device->backend = &without;
    CK_OK(device, mcl__staging_create(device, BYTES, &staging));
    ck_assert_ptr_nonnull(staging.data);
    ck_assert_ptr_null(staging.locked);
    mcl__staging_destroy(device, &staging);
    device->backend = with;
    mcl_device_close(device);
}
END_TEST

/* Two places, each read into a copy: 1 and 2 are read before they are overwritten by 3, which waits; 2 does not. */
START_TEST(uploads_overlap_and_wait)
{
    mcl_device *device = open_own_memory();
    mcl_buffer *place[2], *copy[3];
    mcl__staging staging[3];
    mcl__fence *uploaded[3], *read[2];
    mcl__launch *load[3];
    mcl__view all[2];
    cl_event end;
    for (int i = 0; i < 3; i++) {
        CK_OK(device, mcl__staging_create(device, BYTES, &staging[i]));
        CK_OK(device, mcl__fence_create(device, &uploaded[i]));
        CK_OK(device, mcl_buffer_create(device, BYTES, &copy[i]));
        set_words(&staging[i], (uint32_t)i + 1);
    }
    for (int i = 0; i < 2; i++) {
        CK_OK(device, mcl_buffer_create(device, BYTES, &place[i]));
        CK_OK(device, mcl__fence_create(device, &read[i]));
        all[i] = (mcl__view){place[i], 0, BYTES};
    }
    for (int i = 0; i < 3; i++)
        CK_OK(device, mcl__launch_copy(device, "load", all[i % 2], (mcl__view){copy[i], 0, BYTES}, &load[i]));
    hold_up(device, &end);
    for (int i = 0; i < 3; i++) {
        CK_OK(device, mcl__upload(device, all[i % 2], staging[i].data, read[i % 2], uploaded[i]));
        CK_OK(device, mcl__fence_order(device, uploaded[i]));
        CK_OK(device, mcl__launch_run(device, load[i]));
        CK_OK(device, mcl__fence_record(device, read[i % 2]));
    }
    CK_OK(device, mcl__fence_wait(device, uploaded[0]));
    CK_OK(device, mcl__fence_wait(device, uploaded[1]));
    ck_assert(mcl__fence_passed(device, uploaded[1]));
    ck_assert(!mcl__fence_passed(device, read[0]));
    ck_assert(!mcl__fence_passed(device, uploaded[2]));
    let_go(end);
    CK_OK(device, mcl_device_finish(device));
    ck_assert(mcl__fence_passed(device, uploaded[2]) && mcl__fence_passed(device, read[0]));
    for (uint32_t i = 0; i < 3; i++) expect_words(copy[i], i + 1);
    for (int i = 0; i < 3; i++) {
        mcl__launch_destroy(device, load[i]);
        mcl__staging_destroy(device, &staging[i]);
        mcl__fence_destroy(device, uploaded[i]);
        mcl_buffer_destroy(copy[i]);
    }
    for (int i = 0; i < 2; i++) {
        mcl__fence_destroy(device, read[i]);
        mcl_buffer_destroy(place[i]);
    }
    mcl_device_close(device);
}
END_TEST

/* What computes waits for the upload that it needs, whichever queue that is in: here the upload itself is held up. */
START_TEST(compute_waits_for_uploads)
{
    for (int own = 0; own < 2; own++) {
        mcl_device *device = own ? open_own_memory() : open_opencl(NULL);
        mcl_buffer *place, *copy;
        mcl__staging staging;
        mcl__launch *load;
        mcl__fence held = {0}, *uploaded, *read;
        cl_int code;
        held.event = clCreateUserEvent(mcl__cl(device)->context, &code);
        CK_OK(device, mcl__staging_create(device, BYTES, &staging));
        CK_OK(device, mcl__fence_create(device, &uploaded));
        CK_OK(device, mcl__fence_create(device, &read));
        CK_OK(device, mcl_buffer_create(device, BYTES, &place));
        CK_OK(device, mcl_buffer_create(device, BYTES, &copy));
        CK_OK(device, mcl__launch_copy(device, "load", (mcl__view){place, 0, BYTES}, (mcl__view){copy, 0, BYTES}, &load));
        set_words(&staging, 7);
        CK_OK(device, mcl__upload(device, (mcl__view){place, 0, BYTES}, staging.data, &held, uploaded));
        CK_OK(device, mcl__fence_order(device, uploaded));
        CK_OK(device, mcl__launch_run(device, load));
        CK_OK(device, mcl__fence_record(device, read));
        ck_assert(!mcl__fence_passed(device, uploaded));
        ck_assert(!mcl__fence_passed(device, read));
        let_go(held.event);
        expect_words(copy, 7);
        mcl__launch_destroy(device, load);
        mcl__staging_destroy(device, &staging);
        mcl__fence_destroy(device, uploaded);
        mcl__fence_destroy(device, read);
        mcl_buffer_destroy(place);
        mcl_buffer_destroy(copy);
        mcl_device_close(device);
    }
}
END_TEST

START_TEST(uploads_outside_the_buffer_are_refused)
{
    mcl_device *device = open_own_memory();
    mcl_buffer *buffer;
    mcl__fence *fence;
    char bytes[64] = {0};
    CK_OK(device, mcl_buffer_create(device, sizeof bytes, &buffer));
    CK_OK(device, mcl__fence_create(device, &fence));
    ck_assert_int_eq(mcl__upload(device, (mcl__view){buffer, 8, sizeof bytes}, bytes, fence, fence), MCL_ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(mcl_device_error(device)->text, "upload"));
    mcl__fence_destroy(device, fence);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uploads");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, staging_is_zeros);
    tcase_add_test(tests, staging_falls_back);
    tcase_add_test(tests, uploads_overlap_and_wait);
    tcase_add_test(tests, compute_waits_for_uploads);
    tcase_add_test(tests, uploads_outside_the_buffer_are_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite, true);
}
