// From an operator that takes structs (arguments.h) and fills Results to the two functions with
// flat argument lists that the dispatcher and pybind11 need, and to their schemas.
//
// Such an operator is a type with
//   name        what torch.library calls it
//   results     the names of its results
//   random      whether another call with the same arguments may have other results
//   Arguments   the List of its argument structs
//   run         its body, which takes them and Results&
#pragma once

#include <array>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "arguments.h"
#include "results.h"

namespace isf {

template <class... Lists>
struct Joined;
template <class... A>
struct Joined<List<A...>> {
  using Type = List<A...>;
};
template <class... A, class... B, class... Rest>
struct Joined<List<A...>, List<B...>, Rest...> : Joined<List<A..., B...>, Rest...> {};

template <class Arguments>
struct Structs;
template <class... S>
struct Structs<List<S...>> {
  using Flat = typename Joined<typename S::Fields...>::Type;

  static std::string schema() {
    std::string all;
    for (const char* part : {S::schema...}) all += (all.empty() ? "" : ", ") + std::string(part);
    return all;
  }

  // Calls body(struct...) with the flat arguments in the structs.
  template <class Body, class... Args>
  static void call(const Body& body, const Args&... args) {
    call(body, std::tie(args...), std::index_sequence_for<S...>());
  }

 private:
  template <class... T>
  static constexpr size_t count(List<T...>) {
    return sizeof...(T);
  }

  static constexpr size_t begin(size_t which) {
    constexpr size_t counts[] = {count(typename S::Fields())...};
    size_t sum = 0;
    for (size_t i = 0; i < which; ++i) sum += counts[i];
    return sum;
  }

  template <class Struct, size_t Begin, class Args, size_t... I>
  static Struct make(const Args& args, std::index_sequence<I...>) {
    return {std::get<Begin + I>(args)...};
  }

  template <class Body, class Args, size_t... I>
  static void call(const Body& body, const Args& args, std::index_sequence<I...>) {
    body(make<S, begin(I)>(args, std::make_index_sequence<count(typename S::Fields())>())...);
  }
};

// The tensors among arguments, for Results; an undefined one for what is none.
inline const Tensor kNoTensor;
inline const Tensor* tensor_of(const Tensor& tensor) { return &tensor; }
inline const Tensor* tensor_of(const std::optional<Tensor>& tensor) {
  return tensor ? &*tensor : &kNoTensor;
}
template <class Other>
const Tensor* tensor_of(const Other&) {
  return &kNoTensor;
}

template <class Op, class Flat = typename Structs<typename Op::Arguments>::Flat,
          class = std::make_index_sequence<Op::results.size()>>
struct Operator;
template <class Op, class... Args, size_t... I>
struct Operator<Op, List<Args...>, std::index_sequence<I...>> {
  using Arguments = Structs<typename Op::Arguments>;

  template <size_t>
  using Place = const Tensor&;
  template <class T>
  using One = std::tuple_element_t<0, T>;
  using Tensors = std::tuple<std::remove_cvref_t<Place<I>>...>;
  using Returned = std::conditional_t<sizeof...(I) == 1, One<Tensors>, Tensors>;

  // The results are new.
  static Returned fresh(Args... args) {
    std::array<Tensor, sizeof...(I)> made;
    run(Results(Op::results, made.data()), args...);
    return {std::move(made[I])...};
  }

  // The overload `out`, which writes them to tensors that it is given.
  static void out(Args... args, Place<I>... places) {
    const std::array<const Tensor*, sizeof...(I)> given = {&places...};
    const std::array<const Tensor*, sizeof...(Args)> inputs = {tensor_of(args)...};
    run(Results(Op::results, given.data(), inputs), args...);
  }

  static std::string schema() {
    std::string results = "Tensor";
    for (size_t i = 1; i < sizeof...(I); ++i) results += ", Tensor";
    return Op::name + ("(" + Arguments::schema()) + ") -> (" + results + ")";
  }

  static std::string out_schema() {
    std::string results;
    char alias = 'a';
    for (const char* name : Op::results)
      results += std::string(", Tensor(") + alias++ + "!) out_" + name;
    return Op::name + (".out(" + Arguments::schema()) + ", *" + results + ") -> ()";
  }

 private:
  static void run(Results results, const Args&... args) {
    Arguments::call([&](const auto&... structs) { Op::run(structs..., results); }, args...);
  }
};

}  // namespace isf
