/* A program outside the repository: one operator on the native device, and a network by name. */
#include <monocle/monocle.h>
#include <stdio.h>

static mcl_status add(mcl_device *device, mcl_error *error)
{
    const float numbers[] = {1, 2, 3, 4};
    float sums[4] = {0};
    mcl_buffer *x = NULL, *y = NULL;
    mcl_status status = mcl_buffer_create(device, sizeof numbers, &x);
    if (status == MCL_OK) status = mcl_buffer_create(device, sizeof sums, &y);
    if (status == MCL_OK) status = mcl_buffer_write(x, 0, sizeof numbers, numbers);
    mcl_array ax = {x, 0, 1, {4}}, ay = {y, 0, 1, {4}};
    if (status == MCL_OK) status = mcl_add_forward(ax, ax, ay, error);
    if (status == MCL_OK) status = mcl_buffer_read(y, 0, sizeof sums, sums);
    mcl_buffer_destroy(x);
    mcl_buffer_destroy(y);
    return status == MCL_OK && sums[3] != 8 ? MCL_ERROR_DEVICE : status;
}

int main(void)
{
    mcl_error error = {0};
    mcl_device *device = NULL;
    mcl_network *network = NULL;
    mcl_status status = mcl_device_open("native", NULL, &device, &error);
    if (status == MCL_OK) status = add(device, &error);
    if (status == MCL_OK) status = mcl_network_by_name("lenet", 28, 28, 1, 10, &network, &error);
    if (status == MCL_OK) printf("monocle %s: %lld parameters\n", mcl_version(), (long long)mcl_network_parameter_count(network));
    else fprintf(stderr, "%s: %s\n", mcl_status_name(status), error.text);
    mcl_network_destroy(network);
    mcl_device_close(device);
    return status != MCL_OK;
}
