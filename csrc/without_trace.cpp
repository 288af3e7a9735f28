#include "without_trace.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

namespace isf {
namespace {

// Keeps what the default generator will draw next.
class KeptGenerator {
 public:
  KeptGenerator()
      : generator_(
            at::check_generator<at::CPUGeneratorImpl>(at::detail::getDefaultCPUGenerator())) {
    const std::lock_guard<std::mutex> lock(generator_->mutex_);
    engine_ = generator_->engine();
    float_sample_ = generator_->next_float_normal_sample();
    double_sample_ = generator_->next_double_normal_sample();
  }
  ~KeptGenerator() {
    const std::lock_guard<std::mutex> lock(generator_->mutex_);
    generator_->set_engine(engine_);
    generator_->set_next_float_normal_sample(float_sample_);
    generator_->set_next_double_normal_sample(double_sample_);
  }
  KeptGenerator(const KeptGenerator&) = delete;
  KeptGenerator& operator=(const KeptGenerator&) = delete;

 private:
  at::CPUGeneratorImpl* generator_;
  at::mt19937 engine_;
  std::optional<float> float_sample_;
  std::optional<double> double_sample_;
};

}  // namespace

pybind11::object without_trace(const pybind11::function& run, const pybind11::args& args) {
  const KeptGenerator kept;
  const c10::AutoGradMode no_gradients(false);
  return run(*args);
}

}  // namespace isf
