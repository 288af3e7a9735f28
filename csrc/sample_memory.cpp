#include "sample_memory.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

namespace isf {

namespace {

// How many rows ahead the samples are asked for: they are anywhere in memory.
constexpr int64_t kAhead = 16;

// As many labels pay for a task of their own.
constexpr int64_t kLabelsPerTask = 32768;

// The predicted label of a row that has none, since no logit is the largest.
constexpr int64_t kNoLabel = std::numeric_limits<int64_t>::min();

// What rows have shown, and where it goes; null where it is not tracked.
template <class Label>
struct Update {
  int64_t rows;
  const int64_t* index;
  const float* losses;
  const float* p_true;
  const int64_t* predicted;

  int32_t* seen;
  float* loss;
  float* p_true_mean;
  float* p_true_squares;
  Label* labels;
  int64_t history;

  void prefetch(int64_t sample) const {
    __builtin_prefetch(seen + sample, 1);
    if (loss) __builtin_prefetch(loss + sample, 1);
    if (p_true_mean) __builtin_prefetch(p_true_mean + sample, 1);
    if (p_true_mean) __builtin_prefetch(p_true_squares + sample, 1);
    if (labels) __builtin_prefetch(labels + sample * history, 1);
  }

  bool is_faulty(int64_t row) const {
    return (loss && !std::isfinite(losses[row])) || (p_true_mean && !std::isfinite(p_true[row])) ||
           (labels && predicted[row] == kNoLabel);
  }

  void remember(int64_t row) const {
    const int64_t sample = index[row];
    const auto before = static_cast<uint32_t>(seen[sample]);
    if (loss) loss[sample] = losses[row];
    if (p_true_mean) {
      // Welford, "Note on a method for calculating corrected sums of squares and products",
      // Technometrics 1962.
      const double p = p_true[row], mean = before ? p_true_mean[sample] : 0;
      const double next = mean + (p - mean) / (before + 1.0);
      p_true_mean[sample] = static_cast<float>(next);
      p_true_squares[sample] += static_cast<float>((p - mean) * (p - next));
    }
    if (labels) labels[sample * history + before % history] = static_cast<Label>(predicted[row]);
    seen[sample] = static_cast<int32_t>(before + 1);
  }

  // In order, since a sample may be there twice. Returns how many rows are faulty and left out.
  int64_t run() const {
    int64_t faulty = 0;
    for (int64_t row = 0; row < std::min(kAhead, rows); ++row) prefetch(index[row]);
    for (int64_t row = 0; row < rows; ++row) {
      if (row + kAhead < rows) prefetch(index[row + kAhead]);
      if (is_faulty(row)) {
        ++faulty;
      } else {
        remember(row);
      }
    }
    return faulty;
  }
};

// Entropies divided by ln classes, for the samples [begin, end).
template <class Label>
void label_entropies(const Label* labels, int64_t history, const int32_t* seen,
                     const std::vector<double>& log_of, int64_t classes, float* entropy,
                     int64_t begin, int64_t end) {
  const double scale = 1.0 / std::log(static_cast<double>(classes));
  std::vector<Label> sorted(history);
  for (int64_t sample = begin; sample < end; ++sample) {
    const int64_t count = std::min<int64_t>(static_cast<uint32_t>(seen[sample]), history);
    if (count == 0) {
      entropy[sample] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    std::copy_n(labels + sample * history, count, sorted.begin());
    std::sort(sorted.begin(), sorted.begin() + count);
    double sum = 0;
    for (int64_t first = 0, last; first < count; first = last) {
      for (last = first + 1; last < count && sorted[last] == sorted[first];) ++last;
      // Every term is at least 0, and exactly 0 for a class that is all there is.
      sum += static_cast<double>(last - first) * (log_of[count] - log_of[last - first]);
    }
    entropy[sample] = static_cast<float>(sum / static_cast<double>(count) * scale);
  }
}

// Calls body with a null pointer to the type of the labels.
template <class Body>
void with_label_type(at::ScalarType type, const Body& body) {
  switch (type) {
    case at::kByte:
      return body(static_cast<uint8_t*>(nullptr));
    case at::kShort:
      return body(static_cast<int16_t*>(nullptr));
    case at::kInt:
      return body(static_cast<int32_t*>(nullptr));
    default:
      TORCH_CHECK_TYPE(false, "labels has dtype ", type, ", but must be uint8, int16 or int32");
  }
}

// One number for each row, as the loop takes it.
template <class T>
Tensor checked_rows(const Tensor& rows, const char* name, int64_t n) {
  constexpr bool integer = std::is_same_v<T, int64_t>;
  const at::ScalarType type = rows.scalar_type();
  TORCH_CHECK_VALUE(rows.is_cpu(), name, " is on ", rows.device(), ", but must be on cpu");
  TORCH_CHECK_TYPE(integer ? type == at::kLong || type == at::kInt : at::isFloatingType(type), name,
                   " has dtype ", type, ", but must be ",
                   integer ? "int64 or int32" : "a floating-point dtype");
  TORCH_CHECK_VALUE(rows.dim() == 1 && rows.size(0) == n, name, " has shape ", rows.sizes(),
                    ", but must be [", n, "]");
  return rows.to(c10::CppTypeToScalarType<T>::value).contiguous();
}

const int64_t* checked_range(const Tensor& rows, const char* name, int64_t end, const char* what,
                             std::optional<int64_t> besides = std::nullopt) {
  const int64_t* values = rows.const_data_ptr<int64_t>();
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const bool is_in_range = values[row] >= 0 && values[row] < end;
    TORCH_CHECK_INDEX(is_in_range || values[row] == besides, name, "[", row, "] is ", values[row],
                      ", but there are ", end, " ", what);
  }
  return values;
}

// A tensor of the memory, whose first dimension is the samples.
void check_memory(const Tensor& memory, const char* name, at::ScalarType type, int64_t dim,
                  int64_t samples) {
  TORCH_CHECK_VALUE(memory.is_cpu() && memory.is_contiguous(), name,
                    " must be on cpu and contiguous");
  TORCH_CHECK_TYPE(memory.scalar_type() == type, name, " has dtype ", memory.scalar_type(),
                   ", but must be ", type);
  TORCH_CHECK_VALUE(memory.dim() == dim && memory.size(0) == samples && memory.size(-1) > 0, name,
                    " has shape ", memory.sizes(), ", but there are ", samples, " samples");
}

// Null where nothing is tracked: a tensor of the memory is there if and only if its rows are.
template <class T>
T* checked_memory(const std::optional<Tensor>& memory, const std::optional<Tensor>& rows,
                  const char* name, int64_t dim, int64_t samples) {
  TORCH_CHECK_VALUE(memory.has_value() == rows.has_value(), name,
                    rows ? " is missing" : " is given, but there are no rows for it");
  if (!memory) return nullptr;
  check_memory(*memory, name, c10::CppTypeToScalarType<T>::value, dim, samples);
  return memory->mutable_data_ptr<T>();
}

int64_t* checked_count(const Tensor& count, const char* name) {
  TORCH_CHECK_VALUE(count.is_cpu() && count.dim() == 0, name, " must be a scalar on cpu");
  TORCH_CHECK_TYPE(count.scalar_type() == at::kLong, name, " has dtype ", count.scalar_type(),
                   ", but must be int64");
  return count.mutable_data_ptr<int64_t>();
}

template <class Label>
void check_no_fault(const Update<Label>& update) {
  for (int64_t row = 0; row < update.rows; ++row) {
    if (!update.is_faulty(row)) continue;
    for (const auto& [values, name] :
         {std::pair(update.losses, "losses"), std::pair(update.p_true, "p_true")}) {
      TORCH_CHECK_VALUE(!values || std::isfinite(values[row]), name, "[", row, "] is ", values[row],
                        ", but must be finite in float32");
    }
    TORCH_CHECK_VALUE(false, "logits[", row,
                      "] has a NaN or +inf, or is -inf in every class, so no label is predicted");
  }
}

int64_t samples_of(const Tensor& seen) {
  TORCH_CHECK_VALUE(seen.dim() == 1, "seen has shape ", seen.sizes(), ", but must be [N]");
  check_memory(seen, "seen", at::kInt, 1, seen.size(0));
  return seen.size(0);
}

// Autograd must not use a value that it saved before.
void note_write(const Tensor& memory) {
  if (!memory.is_inference()) memory.unsafeGetTensorImpl()->bump_version();
}

}  // namespace

void memory_update(const Tensor& index, const std::optional<Tensor>& losses,
                   const std::optional<Tensor>& p_true, const std::optional<Tensor>& predicted,
                   const Tensor& seen, const std::optional<Tensor>& loss,
                   const std::optional<Tensor>& p_true_mean,
                   const std::optional<Tensor>& p_true_squares, const std::optional<Tensor>& labels,
                   const std::optional<Tensor>& faulty_rows) {
  TORCH_CHECK_VALUE(index.dim() == 1, "index has shape ", index.sizes(),
                    ", but must have one dimension");
  const int64_t n = index.size(0), samples = samples_of(seen);
  const Tensor rows = checked_rows<int64_t>(index, "index", n);
  const Tensor row_loss = losses ? checked_rows<float>(*losses, "losses", n) : Tensor();
  const Tensor row_p_true = p_true ? checked_rows<float>(*p_true, "p_true", n) : Tensor();
  const Tensor row_label = predicted ? checked_rows<int64_t>(*predicted, "predicted", n) : Tensor();

  with_label_type(labels ? labels->scalar_type() : at::kByte, [&](auto* type) {
    using Label = std::remove_pointer_t<decltype(type)>;
    Update<Label> update = {};
    update.rows = n;
    update.index = checked_range(rows, "index", samples, "samples");
    update.seen = seen.mutable_data_ptr<int32_t>();
    update.loss = checked_memory<float>(loss, losses, "loss", 1, samples);
    update.p_true_mean = checked_memory<float>(p_true_mean, p_true, "p_true_mean", 1, samples);
    update.p_true_squares =
        checked_memory<float>(p_true_squares, p_true, "p_true_squares", 1, samples);
    update.labels = checked_memory<Label>(labels, predicted, "labels", 2, samples);
    if (losses) update.losses = row_loss.const_data_ptr<float>();
    if (p_true) update.p_true = row_p_true.const_data_ptr<float>();
    if (labels) {
      constexpr int64_t fit = int64_t{std::numeric_limits<Label>::max()} + 1;
      update.predicted =
          checked_range(row_label, "predicted", fit, "labels of this dtype", kNoLabel);
      update.history = labels->size(1);
    }
    if (faulty_rows) {
      int64_t& count = *checked_count(*faulty_rows, "faulty_rows");
      count += update.run();
    } else {
      check_no_fault(update);
      update.run();
    }
  });
  note_write(seen);
  for (const auto* memory : {&loss, &p_true_mean, &p_true_squares, &labels, &faulty_rows}) {
    if (*memory) note_write(**memory);
  }
}

Tensor label_entropy(const Tensor& labels, const Tensor& seen, int64_t classes) {
  TORCH_CHECK_VALUE(classes >= 2, "classes is ", classes, ", but must be at least 2");
  const int64_t samples = samples_of(seen);
  check_memory(labels, "labels", labels.scalar_type(), 2, samples);
  const int64_t history = labels.size(1);
  std::vector<double> log_of(history + 1);
  for (int64_t count = 1; count <= history; ++count)
    log_of[count] = std::log(static_cast<double>(count));
  const Tensor entropy = at::empty({samples}, seen.options().dtype(at::kFloat));
  with_label_type(labels.scalar_type(), [&](auto* type) {
    const auto* ring = labels.const_data_ptr<std::remove_pointer_t<decltype(type)>>();
    const int32_t* updates = seen.const_data_ptr<int32_t>();
    float* result = entropy.mutable_data_ptr<float>();
    const int64_t grain = std::max<int64_t>(1, kLabelsPerTask / history);
    at::parallel_for(0, samples, grain, [&](int64_t begin, int64_t end) {
      label_entropies(ring, history, updates, log_of, classes, result, begin, end);
    });
  });
  return entropy;
}

TORCH_LIBRARY_FRAGMENT(impsamp_fast, m) {
  m.def(
      "memory_update(Tensor index, Tensor? losses, Tensor? p_true, Tensor? predicted, "
      "Tensor(a!) seen, Tensor(b!)? loss, Tensor(c!)? p_true_mean, Tensor(d!)? p_true_squares, "
      "Tensor(e!)? labels, Tensor(f!)? faulty_rows) -> ()",
      {at::Tag::pt2_compliant_tag});
  m.def("label_entropy(Tensor labels, Tensor seen, SymInt classes) -> Tensor",
        {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(impsamp_fast, CPU, m) {
  m.impl("memory_update", memory_update);
  m.impl("label_entropy", label_entropy);
}

// Nothing here is differentiated.
TORCH_LIBRARY_IMPL(impsamp_fast, Autograd, m) {
  m.impl("memory_update", torch::CppFunction::makeFallthrough());
  m.impl("label_entropy", torch::CppFunction::makeFallthrough());
}

}  // namespace isf
