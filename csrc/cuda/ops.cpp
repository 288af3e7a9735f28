// CUDA's backend: tensors, streams and generators become what the launchers take. Nothing here
// waits for the device, and a CUDA graph can capture all of it.
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/EmptyTensor.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <mutex>
#include <vector>

#include "../backend.h"
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
class Launch {
 public:
  explicit Launch(at::Device device)
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

void score(const RowTask& task) {
  const Rows& rows = task.rows;
  if (rows.count() == 0) return;
  Launch launch(rows.logits.device());
  const Queue queue = launch.queue();
  check(row_statistics(task.problem, element_of(rows.logits.scalar_type()), rows.soft_target(),
                       queue));
  if (!task.features.defined()) return;
  check(last_layer(features_of(task.features), task.problem.statistic[task.statistic],
                   rows.result_type == at::kDouble, rows.count(), queue));
}

void draw(const DrawTask& task) {
  const at::Device device = task.weights.device();
  Launch launch(device);
  const Queue queue = launch.queue();
  DrawProblem problem = {};
  problem.weights = task.weights.const_data_ptr();
  problem.is_double = task.weights.scalar_type() == at::kDouble;
  problem.rows = task.weights.size(0);
  problem.n = task.n;
  problem.method = task.method;
  problem.seed = source_of(task.seed, task.method, device);
  problem.index = task.index.mutable_data_ptr<int64_t>();
  problem.prob = task.prob.mutable_data_ptr();
  problem.status = static_cast<int64_t*>(queue.allocate(queue.owner, sizeof(int64_t)));
  check(cuda::draw(problem, queue));
}

void draw_scan(const ScanTask& task) {
  Launch launch(task.weights.device());
  const ScanProblem problem = {task.weights.const_data_ptr(),
                               task.weights.scalar_type() == at::kDouble,
                               task.weights.size(0),
                               task.largest.mutable_data_ptr(),
                               task.positive.mutable_data_ptr<int64_t>(),
                               task.status.mutable_data_ptr<int64_t>()};
  check(cuda::draw_scan(problem, launch.queue()));
}

PartProblem problem_of(const Part& part) {
  return {part.weights.const_data_ptr(), part.weights.scalar_type() == at::kDouble,
          part.weights.size(0), part.largest.const_data_ptr(), part.rows.const_data_ptr<int64_t>()};
}

void draw_total(const TotalTask& task) {
  Launch launch(task.part.weights.device());
  check(cuda::draw_total(problem_of(task.part), task.total.mutable_data_ptr<int64_t>(),
                         launch.queue()));
}

void draw_part(const PartTask& task) {
  Launch launch(task.part.weights.device());
  const PartDrawProblem problem = {problem_of(task.part),
                                   task.n,
                                   task.method,
                                   task.total.const_data_ptr<int64_t>(),
                                   task.before.const_data_ptr<int64_t>(),
                                   task.seed.const_data_ptr<int64_t>(),
                                   task.index.mutable_data_ptr<int64_t>(),
                                   task.prob.mutable_data_ptr()};
  check(cuda::draw_part(problem, launch.queue()));
}

void draw_first(const FirstTask& task) {
  Launch launch(task.part.weights.device());
  const FirstProblem problem = {problem_of(task.part),
                                task.n,
                                task.method,
                                task.first_row.const_data_ptr<int64_t>(),
                                task.seed.const_data_ptr<int64_t>(),
                                task.key.mutable_data_ptr<int64_t>(),
                                task.index.mutable_data_ptr<int64_t>()};
  check(cuda::draw_first(problem, launch.queue()));
}

void draw_arrival_prob(const ArrivalTask& task) {
  Launch launch(task.drawn.weights.device());
  check(cuda::draw_arrival_prob(problem_of(task.drawn), task.next.const_data_ptr<int64_t>(),
                                task.prob.mutable_data_ptr(), launch.queue()));
}

void draw_certain(const CertainTask& task) {
  Launch launch(task.part.weights.device());
  const CertainProblem problem = {problem_of(task.part), task.n,
                                  task.found.const_data_ptr<int64_t>(),
                                  task.counted.mutable_data_ptr<int64_t>()};
  check(cuda::draw_certain(problem, launch.queue()));
}

void draw_by_size(const SizeTask& task) {
  Launch launch(task.part.weights.device());
  const SizeProblem problem = {problem_of(task.part),
                               task.n,
                               task.found.const_data_ptr<int64_t>(),
                               task.before.const_data_ptr<int64_t>(),
                               task.seed.const_data_ptr<int64_t>(),
                               task.index.mutable_data_ptr<int64_t>(),
                               task.prob.mutable_data_ptr()};
  check(cuda::draw_by_size(problem, launch.queue()));
}

void select(const SelectTask& task) {
  const RowTask& scores = task.scores;
  const at::Device device = scores.rows.logits.device();
  Launch launch(device);
  SelectProblem problem = {};
  problem.rows = scores.problem;
  problem.element = element_of(scores.rows.logits.scalar_type());
  problem.soft_target = scores.rows.soft_target();
  problem.score = scores.statistic;
  if (scores.statistic == kLoss) problem.score_copy = task.score.mutable_data_ptr();
  problem.features = features_of(scores.features);
  problem.choice = task.choice;
  problem.seed = source_of(task.seed, task.choice.method, device);
  problem.index = task.index.mutable_data_ptr<int64_t>();
  problem.weight = task.weight.mutable_data_ptr();
  problem.tau = task.tau.mutable_data_ptr();
  problem.status = task.status.mutable_data_ptr<int64_t>();
  check(cuda::select(problem, launch.queue()));
}

void smooth(const SmoothTask& task) {
  Launch launch(task.score.device());
  SmoothProblem problem = {};
  problem.score = task.score.const_data_ptr();
  problem.is_double = task.score.scalar_type() == at::kDouble;
  problem.rows = task.score.size(0);
  if (task.ignored.defined()) problem.ignored = task.ignored.const_data_ptr<bool>();
  problem.share = task.share;
  problem.weights = task.weights.mutable_data_ptr();
  problem.tau = task.tau.mutable_data_ptr();
  check(cuda::smooth(problem, launch.queue()));
}

void correct(const CorrectTask& task) {
  Launch launch(task.weight.device());
  const CorrectProblem problem = {task.correcting, task.weight.scalar_type() == at::kDouble,
                                  task.drawn_by.const_data_ptr(), task.weight.mutable_data_ptr()};
  check(cuda::correct(problem, launch.queue()));
}

const Backend backend = {empty,
                         score,
                         draw,
                         select,
                         smooth,
                         correct,
                         draw_scan,
                         draw_total,
                         draw_part,
                         draw_first,
                         draw_arrival_prob,
                         draw_certain,
                         draw_by_size};
const AddBackend add(at::kCUDA, backend);

}  // namespace

}  // namespace cuda
}  // namespace isf
