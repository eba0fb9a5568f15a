/* All of Monocle's public headers. */
#ifndef MONOCLE_MONOCLE_H
#define MONOCLE_MONOCLE_H
#include <monocle/data.h>
#include <monocle/device.h>
#include <monocle/network.h>
#include <monocle/operators.h>
#include <monocle/status.h>
#include <monocle/train.h>
#include <monocle/wait.h>
#endif
