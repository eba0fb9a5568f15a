/* Lists the devices that Monocle can compute on, opens one, and sends some bytes there and back.
 *   01_devices [DEVICE]      auto, native, gpu, cpu, PLATFORM:DEVICE, or part of a name */
#include <monocle/monocle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const mcl_error *error)
{
    fprintf(stderr, "error: %s\n", *error->text ? error->text : mcl_status_sentence(error->status));
    return EXIT_FAILURE;
}

static mcl_status list_devices(mcl_error *error)
{
    static const char *const types[] = {"native", "CPU", "GPU", "accelerator"};
    mcl_device_info *devices;
    char *notes;
    int count;
    mcl_status status = mcl_device_list(&devices, &count, &notes, error);
    if (status != MCL_OK) return status;
    for (int i = 0; i < count; i++)
        printf("%-7s %-11s %s: %u units, %.1f GiB, largest allocation %.1f GiB\n", devices[i].selector, types[devices[i].type],
               devices[i].name, devices[i].compute_units, (double)devices[i].memory / 0x1p30,
               (double)devices[i].max_allocation / 0x1p30);
    if (notes && *notes) printf("%s\n", notes);
    free(devices);
    free(notes);
    return MCL_OK;
}

/* Writes numbers to the device and reads them back. */
static mcl_status there_and_back(mcl_device *device)
{
    float sent[1000], received[1000] = {0};
    mcl_buffer *buffer = NULL;
    for (int i = 0; i < 1000; i++) sent[i] = (float)i;
    mcl_status status = mcl_buffer_create(device, sizeof sent, &buffer);
    if (status == MCL_OK) status = mcl_buffer_write(buffer, 0, sizeof sent, sent);
    if (status == MCL_OK) status = mcl_buffer_read(buffer, 0, sizeof received, received);
    mcl_buffer_destroy(buffer); /* NULL does nothing */
    if (status != MCL_OK) return status;
    bool same = memcmp(sent, received, sizeof sent) == 0;
    printf("1000 numbers went there and came back %s\n", same ? "unchanged" : "with errors");
    return same ? MCL_OK : MCL_ERROR_DEVICE;
}

int main(int argc, char **argv)
{
    mcl_error error = {0};
    mcl_device *device;
    if (list_devices(&error) != MCL_OK) return failed(&error);

    /* NULL asks the environment variable MONOCLE_DEVICE, and then takes what suits best. */
    if (mcl_device_open(argc > 1 ? argv[1] : NULL, NULL, &device, &error) != MCL_OK) return failed(&error);
    printf("\nopened %s: %s\n", mcl_device_get_info(device)->name, mcl_device_reason(device));

    /* Functions without an error object leave the text with the device. */
    int result = EXIT_SUCCESS;
    if (there_and_back(device) != MCL_OK) result = failed(mcl_device_error(device));
    mcl_device_counters counters = mcl_device_get_counters(device);
    printf("%llu allocation, at most %llu bytes\n", (unsigned long long)counters.allocations,
           (unsigned long long)counters.peak_bytes_allocated);
    mcl_device_close(device);
    return result;
}
