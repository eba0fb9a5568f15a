/* Uploads to devices whose memory is their own: from page-locked memory of the host, in a queue beside that which computes; events
 * order the two. A queue whose events another one waits for is flushed, or the other may wait forever. */
#include "device/opencl/opencl.h"

/* Without a second queue uploads are enqueued like everything else. */
static cl_command_queue queue_of(const mcl__cl_device *device)
{
    return mcl__has_own_memory(&device->base) && device->uploads ? device->uploads : device->queue;
}

/* A buffer in memory that the driver has locked is mapped for as long as it lives: to transfers it is memory of the host. */
void *mcl__cl_lock(mcl_device *base, uint64_t bytes, void **locked)
{
    mcl__cl_device *device = mcl__cl(base);
    cl_int code;
    if (!device->uploads) device->uploads = clCreateCommandQueue(device->context, device->id, 0, &code);
    cl_mem memory = clCreateBuffer(device->context, CL_MEM_READ_ONLY | CL_MEM_ALLOC_HOST_PTR, (size_t)bytes, NULL, &code);
    if (!memory) return NULL;
    void *data = clEnqueueMapBuffer(queue_of(device), memory, CL_TRUE, CL_MAP_WRITE, 0, (size_t)bytes, 0, NULL, NULL, &code);
    if (code == CL_SUCCESS && data) {
        *locked = memory;
        return data;
    }
    clReleaseMemObject(memory);
    return NULL;
}

void mcl__cl_unlock(mcl_device *base, void *data, void *locked)
{
    clEnqueueUnmapMemObject(queue_of(mcl__cl(base)), locked, data, 0, NULL, NULL);
    clReleaseMemObject(locked);
}

mcl_status mcl__cl_upload(mcl_device *base, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done)
{
    cl_command_queue queue = queue_of(mcl__cl(base));
    cl_event event;
    cl_int code = clEnqueueWriteBuffer(queue, mcl__cl_memory(target), CL_FALSE, (size_t)target.offset, (size_t)target.bytes, source,
                                       after->event ? 1 : 0, after->event ? &after->event : NULL, &event);
    if (code != CL_SUCCESS) return mcl__cl_fail(base, "upload", "clEnqueueWriteBuffer", code);
    if (done->event) clReleaseEvent(done->event);
    done->event = event;
    if ((code = clFlush(queue)) != CL_SUCCESS) return mcl__cl_fail(base, "upload", "clFlush", code);
    return MCL_OK;
}

mcl_status mcl__cl_fence_order(mcl_device *base, mcl__fence *fence)
{
    if (!fence->event) return MCL_OK;
    cl_int code = clEnqueueBarrierWithWaitList(mcl__cl(base)->queue, 1, &fence->event, NULL);
    return code == CL_SUCCESS ? MCL_OK : mcl__cl_fail(base, "fence", "clEnqueueBarrierWithWaitList", code);
}

bool mcl__cl_fence_passed(mcl_device *base, mcl__fence *fence)
{
    (void)base;
    cl_int state = CL_COMPLETE;
    if (fence->event) clGetEventInfo(fence->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return state == CL_COMPLETE;
}
