// The kernels of one instruction set. level_*.cpp set ISF_LEVEL and the target pragma and include
// this file once.
//
// Everything below lives in the namespace of its instruction set or has internal linkage, and
// nothing of the C++ library that emits code is used: the linker must never take an AVX-512 copy of
// a shared inline function for all.
#include "../portable.h"
#include "../cdf.h"
#include "../philox.h"
#include "../target.h"
#include "../correction.h"
#include "kernels.h"
#include "simd.h"
#include "load.h"
#include "row_sums.h"
#include "close_norm.h"
#include "row_stats_kernel.h"
#include "soft_target_kernel.h"
#include "last_layer_kernel.h"
#include "draw_kernel.h"
#include "weights_kernel.h"
#include "spanning_kernel.h"

namespace isf {
namespace cpu {

#define ISF_JOIN_(a, b) a##b
#define ISF_JOIN(a, b) ISF_JOIN_(a, b)
#define ISF_EACH_ELEMENT(kernel)                                                            \
  {ISF_LEVEL::kernel<float>, ISF_LEVEL::kernel<double>, ISF_LEVEL::kernel<ISF_LEVEL::Half>, \
   ISF_LEVEL::kernel<ISF_LEVEL::BFloat16>}

const Kernels ISF_JOIN(kernels_, ISF_LEVEL) = {
    ISF_EACH_ELEMENT(hard_target_kernel),
    ISF_EACH_ELEMENT(hard_target_parts_kernel),
    ISF_EACH_ELEMENT(soft_target_kernel),
    ISF_EACH_ELEMENT(last_layer_kernel),
    {ISF_LEVEL::scan_weights_kernel<float>, ISF_LEVEL::scan_weights_kernel<double>},
    {ISF_LEVEL::squares_kernel<float>, ISF_LEVEL::squares_kernel<double>},
    {ISF_LEVEL::to_fixed_point_kernel<float>, ISF_LEVEL::to_fixed_point_kernel<double>},
    ISF_LEVEL::random_numbers_kernel,
    ISF_LEVEL::race_kernel,
    {ISF_LEVEL::filter_kernel<uint32_t>, ISF_LEVEL::filter_kernel<uint64_t>},
    ISF_LEVEL::arrival_probabilities_kernel,
    ISF_LEVEL::search_kernel,
    {ISF_LEVEL::raise_kernel<float>, ISF_LEVEL::raise_kernel<double>},
    {ISF_LEVEL::span_kernel<float>, ISF_LEVEL::span_kernel<double>},
};

}  // namespace cpu
}  // namespace isf
