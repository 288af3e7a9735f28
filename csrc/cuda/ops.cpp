// CUDA's backend: tensors, streams and generators become what the launchers take. Nothing here
// waits for the device, and a CUDA graph can capture all of it.
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/EmptyTensor.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <mutex>
#include <vector>

#include "../backend.h"
#include "../ops.h"
#include "cuda.h"

namespace isf {
namespace cuda {

namespace {

void check(int error) { C10_CUDA_CHECK(static_cast<cudaError_t>(error)); }

// What the launchers must know of a device, which is asked once.
struct Limits {
  int multiprocessors, shared_memory;
};

Limits limits_of(c10::DeviceIndex device) {
  static std::mutex mutex;
  static std::vector<Limits> known;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto at = static_cast<size_t>(device);
  if (at >= known.size()) known.resize(at + 1);
  Limits& limits = known[at];
  if (limits.multiprocessors == 0) {
    check(cudaDeviceGetAttribute(&limits.shared_memory, cudaDevAttrMaxSharedMemoryPerBlockOptin,
                                 device));
    check(cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount, device));
  }
  return limits;
}

// The current stream of a device, which is made the current one, and the memory that the kernels of
// an operator need. The allocator hands memory that is given back only to later work of the same
// stream, so it may go when the operator returns.
class Work {
 public:
  explicit Work(at::Device device)
      : guard_(device), stream_(c10::cuda::getCurrentCUDAStream(device.index())) {}

  Queue queue() {
    const Limits limits = limits_of(guard_.current_device().index());
    return {stream_, limits.multiprocessors, static_cast<size_t>(limits.shared_memory), allocate,
            &memory_};
  }

 private:
  using Memory = std::vector<at::DataPtr>;

  static void* allocate(void* owner, size_t bytes) {
    auto& memory = *static_cast<Memory*>(owner);
    memory.push_back(c10::cuda::CUDACachingAllocator::get()->allocate(bytes));
    return memory.back().get();
  }

  c10::cuda::CUDAGuard guard_;
  c10::cuda::CUDAStream stream_;
  Memory memory_;
};

Tensor empty(at::IntArrayRef shape, at::ScalarType type, at::Device device) {
  return Tensor(at::detail::empty_cuda(shape, type, device, std::nullopt));
}

// What a generator gives: while a graph is captured, where the seed and the offset will be when it
// is replayed.
SeedSource generated(const std::optional<at::Generator>& generator, at::Device device) {
  constexpr uint64_t kStep = 4;  // the least that an offset can move by
  auto* source = at::get_generator_or_default<at::CUDAGeneratorImpl>(
      generator, at::cuda::detail::getDefaultCUDAGenerator(device.index()));
  at::PhiloxCudaState state;
  {
    const std::lock_guard<std::mutex> lock(source->mutex_);
    state = source->philox_cuda_state(kStep);
  }
  SeedSource seed = {};
  seed.from_generator = true;
  if (state.captured_) {
    seed.seed_at = state.seed_.ptr;
    seed.offset_at = state.offset_.ptr;
    seed.offset = state.offset_intragraph_;
  } else {
    seed.seed = state.seed_.val;
    seed.offset = state.offset_.val;
  }
  return seed;
}

SeedSource source_of(const Seed& seed, Method method, at::Device device) {
  SeedSource source = {};
  if (seed.number) {
    source.seed = static_cast<uint64_t>(*seed.number);
  } else if (seed.tensor) {
    source.seed_at = seed.tensor->const_data_ptr<int64_t>();
  } else if (method != Method::kTopk) {  // which is not random
    source = generated(seed.generator, device);
  }
  return source;
}

void score(const Scoring& scoring) {
  const Rows& rows = scoring.rows;
  if (rows.count() == 0) return;
  Work work(rows.logits.device());
  const Queue queue = work.queue();
  check(row_statistics(scoring.problem, element_of(rows.logits.scalar_type()), rows.soft_target(),
                       queue));
  if (!scoring.features.defined()) return;
  check(last_layer(features_of(scoring.features), scoring.problem.statistic[scoring.statistic],
                   rows.result_type == at::kDouble, rows.count(), queue));
}

void draw(const Drawing& drawing, const Seed& seed, const Tensor& index, const Tensor& prob) {
  const Tensor& weights = drawing.weights;
  Work work(weights.device());
  const Queue queue = work.queue();
  DrawProblem problem = {};
  problem.weights = weights.const_data_ptr();
  problem.is_double = weights.scalar_type() == at::kDouble;
  problem.rows = weights.size(0);
  problem.n = drawing.n;
  problem.method = drawing.method;
  problem.seed = source_of(seed, drawing.method, weights.device());
  problem.index = index.mutable_data_ptr<int64_t>();
  problem.prob = prob.mutable_data_ptr();
  problem.status = static_cast<int64_t*>(queue.allocate(queue.owner, sizeof(int64_t)));
  check(cuda::draw(problem, queue));
}

void select(const Scoring& scoring, const Choice& choice, const Seed& seed,
            const Selected& selected) {
  const Rows& rows = scoring.rows;
  const at::Device device = rows.logits.device();
  Work work(device);
  SelectProblem problem = {};
  problem.rows = scoring.problem;
  problem.element = element_of(rows.logits.scalar_type());
  problem.soft_target = rows.soft_target();
  problem.score = scoring.statistic;
  if (scoring.statistic == kLoss) problem.score_copy = selected.score.mutable_data_ptr();
  problem.features = features_of(scoring.features);
  problem.choice = choice;
  problem.seed = source_of(seed, choice.method, device);
  problem.index = selected.index.mutable_data_ptr<int64_t>();
  problem.weight = selected.weight.mutable_data_ptr();
  problem.tau = selected.tau.mutable_data_ptr();
  problem.status = selected.status.mutable_data_ptr<int64_t>();
  check(cuda::select(problem, work.queue()));
}

void smooth(const Smoothing& smoothing, const Tensor& weights, const Tensor& tau) {
  const Tensor& score = smoothing.score;
  Work work(score.device());
  SmoothProblem problem = {};
  problem.score = score.const_data_ptr();
  problem.is_double = score.scalar_type() == at::kDouble;
  problem.rows = score.size(0);
  if (smoothing.ignored.defined()) problem.ignored = smoothing.ignored.const_data_ptr<bool>();
  problem.share = smoothing.share;
  problem.weights = weights.mutable_data_ptr();
  problem.tau = tau.mutable_data_ptr();
  check(cuda::smooth(problem, work.queue()));
}

void correct(const Correcting& correcting, const Tensor& drawn_by, const Tensor& weight) {
  Work work(weight.device());
  const CorrectProblem problem = {correcting, weight.scalar_type() == at::kDouble,
                                  drawn_by.const_data_ptr(), weight.mutable_data_ptr()};
  check(cuda::correct(problem, work.queue()));
}

const Backend backend = {empty, score, draw, select, smooth, correct};
const AddBackend add(at::kCUDA, backend);

}  // namespace

}  // namespace cuda

TORCH_LIBRARY_IMPL(impsamp_fast, CUDA, m) { implement(m); }

}  // namespace isf
