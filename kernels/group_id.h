/* The number of a work-group along a dimension, in which it has `size` work-items, among all of a launch, which may be enqueued in
 * pieces (src/device/opencl/launch.c). Neither get_global_id nor get_local_id is in it: compilers for AMD then keep it in scalar
 * registers. For kernels only. */
#ifndef MCL_GROUP_ID_H
#define MCL_GROUP_ID_H

#define GROUP_ID(dimension, size) ((int)get_group_id(dimension) + (int)get_global_offset(dimension) / (size))

#endif
