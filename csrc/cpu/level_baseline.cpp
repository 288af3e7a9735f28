// Kernels for every processor of the architecture (SSE2 on x86-64, NEON on ARM).
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <limits>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define ISF_LEVEL baseline
#include "level.h"
