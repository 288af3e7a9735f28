// The arguments of the operators, in structs that several of them share. Each says once what its
// arguments are called and default to (`schema`, as torch.library reads it) and how they are passed
// (`Fields`, the types of its members in order); operator.h makes the flat argument lists of them
// that the dispatcher and pybind11 need. The structs refer to the caller's arguments.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace isf {

using at::Tensor;

template <class... T>
struct List {};

struct LabelledRows {
  static constexpr const char* schema = "Tensor logits, Tensor target";
  using Fields = List<const Tensor&, const Tensor&>;

  const Tensor& logits;  // [..., C]
  const Tensor& target;  // [...] or [..., C]
};

struct LossOptions {
  static constexpr const char* schema =
      "float label_smoothing=0.0, Tensor? class_weight=None, SymInt? ignore_index=-100";
  using Fields = List<double, const std::optional<Tensor>&, std::optional<int64_t>>;

  double label_smoothing;
  const std::optional<Tensor>& class_weight;  // [C]
  std::optional<int64_t> ignore_index;
};

struct ScoreOptions {
  static constexpr const char* schema = "str kind=\"grad_norm\", Tensor? features=None";
  using Fields = List<const std::string&, const std::optional<Tensor>&>;

  const std::string& kind;
  const std::optional<Tensor>& features;  // [..., D]
};

struct Weights {
  static constexpr const char* schema = "Tensor weights";
  using Fields = List<const Tensor&>;

  const Tensor& weights;  // [K]
};

struct DrawOptions {
  static constexpr const char* schema = "SymInt n, str method=\"multinomial\"";
  using Fields = List<int64_t, const std::string&>;

  int64_t n;
  const std::string& method;
};

struct SelectOptions {
  static constexpr const char* schema =
      "SymInt n, str score=\"grad_norm\", str method=\"multinomial\", "
      "str correction=\"unbiased\", float? exponent=None, Tensor? features=None, "
      "float smoothing=0.0";
  using Fields = List<int64_t, const std::string&, const std::string&, const std::string&,
                      std::optional<double>, const std::optional<Tensor>&, double>;

  int64_t n;
  const std::string& score;
  const std::string& method;
  const std::string& correction;
  std::optional<double> exponent;         // decides, if given, whatever the correction's name
  const std::optional<Tensor>& features;  // [..., D]
  double smoothing;
};

struct SmoothOptions {
  static constexpr const char* schema = "Tensor scores, float smoothing=0.0, Tensor? ignored=None";
  using Fields = List<const Tensor&, double, const std::optional<Tensor>&>;

  const Tensor& scores;  // [K]
  double smoothing;
  const std::optional<Tensor>& ignored;  // [K] bool
};

struct CorrectOptions {
  static constexpr const char* schema =
      "Tensor prob, Tensor drawn_by, SymInt rows, str kind, str correction=\"unbiased\", "
      "float? exponent=None";
  using Fields = List<const Tensor&, const Tensor&, int64_t, const std::string&, const std::string&,
                      std::optional<double>>;

  const Tensor& prob;      // [n]
  const Tensor& drawn_by;  // [n]
  int64_t rows;
  const std::string& kind;
  const std::string& correction;
  std::optional<double> exponent;  // as in SelectOptions
};

// The weights of some of the rows that are drawn from, and what is known of all of them.
struct PartWeights {
  static constexpr const char* schema = "Tensor weights, Tensor largest, Tensor rows";
  using Fields = List<const Tensor&, const Tensor&, const Tensor&>;

  const Tensor& weights;  // [k]
  const Tensor& largest;  // [] of the result type: the largest weight of all
  const Tensor& rows;     // int64 []: how many there are in all
};

struct PartOptions {
  static constexpr const char* schema =
      "Tensor total, Tensor before, SymInt n, str method, Tensor seed";
  using Fields = List<const Tensor&, const Tensor&, int64_t, const std::string&, const Tensor&>;

  const Tensor& total;   // int64 []: of all rows
  const Tensor& before;  // int64 []: of the rows before these
  int64_t n;
  const std::string& method;
  const Tensor& seed;  // int64 []
};

struct FirstOptions {
  static constexpr const char* schema = "Tensor first_row, SymInt n, str method, Tensor seed";
  using Fields = List<const Tensor&, int64_t, const std::string&, const Tensor&>;

  const Tensor& first_row;  // int64 []: the part's, among all rows
  int64_t n;
  const std::string& method;
  const Tensor& seed;  // int64 []
};

struct NextArrival {
  static constexpr const char* schema = "Tensor next";
  using Fields = List<const Tensor&>;

  const Tensor& next;  // int64 []: the key of the row after the drawn ones
};

// `found` is int64 [3]: the bits of the size that rows are certain from, -1 where none is; the sum
// of the others; how many are certain.
struct CertainOptions {
  static constexpr const char* schema = "Tensor found, SymInt n";
  using Fields = List<const Tensor&, int64_t>;

  const Tensor& found;  // of all rows
  int64_t n;
};

struct SizeOptions {
  static constexpr const char* schema = "Tensor found, Tensor before, SymInt n, Tensor seed";
  using Fields = List<const Tensor&, const Tensor&, int64_t, const Tensor&>;

  const Tensor& found;   // of all rows
  const Tensor& before;  // int64 [2]: the last two numbers of the rows before these
  int64_t n;
  const Tensor& seed;  // int64 []
};

// What decides a draw. At most one is given; with none, the device's default generator. The tensor
// is read where the draw is made: a graph that is captured with it draws anew when it changes.
struct Seed {
  static constexpr const char* schema =
      "SymInt? seed=None, Generator? generator=None, Tensor? device_seed=None";
  using Fields = List<std::optional<int64_t>, const std::optional<at::Generator>&,
                      const std::optional<Tensor>&>;

  std::optional<int64_t> number;
  const std::optional<at::Generator>& generator;  // of the draw's device
  const std::optional<Tensor>& tensor;            // int64 [], on the draw's device
};

}  // namespace isf
