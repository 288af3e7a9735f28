// What the tests ask of the kernels, and where the buffers of a request live.
//
// A request is a name and then items, read in the order in which they were written:
//   'i' int64 | 'd' double | 'n' no buffer | 'b' or 'o' int64 bytes, int64 misalignment, contents |
//   's' int64: the output of this number once more
// 'b' is an input; an output, 'o', is sent back in the reply. Both get exactly the bytes asked for,
// on the heap, `misalignment` bytes behind a multiple of 256: AddressSanitizer sees an access
// beyond either end. An output is sent with the contents that it has before the kernel runs. The
// reply is the launcher's error as int64 and then the contents of every output.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sanitizer.h"

namespace shim {

class Buffer {
 public:
  Buffer(size_t bytes, size_t misalignment) : bytes_(bytes), misalignment_(misalignment) {
    if (posix_memalign(&memory_, 256, bytes + misalignment) != 0) abort();
#if defined(SHIM_ASAN)
    ASAN_POISON_MEMORY_REGION(memory_, misalignment & ~size_t{7});
#endif
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() { free(memory_); }

  void* data() const { return static_cast<char*>(memory_) + misalignment_; }
  size_t bytes() const { return bytes_; }

 private:
  void* memory_;
  size_t bytes_, misalignment_;
};

class Request {
 public:
  // Waits for the next request; false if there is none.
  bool next() {
    inputs_.clear();
    outputs_.clear();
    scratch_.clear();
    int64_t length = 0;
    if (fread(&length, sizeof length, 1, stdin) != 1) return false;
    name_.resize(static_cast<size_t>(length));
    read(&name_[0], name_.size());
    return true;
  }

  const std::string& name() const { return name_; }

  int64_t integer() {
    expect('i');
    return number<int64_t>();
  }

  double real() {
    expect('d');
    return number<double>();
  }

  // The pointer to a buffer of the request, or null.
  void* buffer() {
    const char tag = number<char>();
    if (tag == 'n') return nullptr;
    if (tag == 's') return outputs_.at(static_cast<size_t>(number<int64_t>()))->data();
    if (tag != 'b' && tag != 'o') fail(tag, 'b');
    const auto bytes = static_cast<size_t>(number<int64_t>());
    const auto misalignment = static_cast<size_t>(number<int64_t>());
    auto& owners = tag == 'b' ? inputs_ : outputs_;
    owners.emplace_back(new Buffer(bytes, misalignment));
    read(owners.back()->data(), bytes);
    return owners.back()->data();
  }

  // All buffers so far, each with its bytes.
  std::vector<std::pair<void*, size_t>> buffers() const {
    std::vector<std::pair<void*, size_t>> all;
    for (const auto* owners : {&inputs_, &outputs_}) {
      for (const auto& buffer : *owners) all.emplace_back(buffer->data(), buffer->bytes());
    }
    return all;
  }

  // Memory that stays until the next request, and starts as garbage.
  void* scratch(size_t bytes) {
    scratch_.emplace_back(new Buffer(bytes, 0));
    memset(scratch_.back()->data(), 0xa5, bytes);
    return scratch_.back()->data();
  }

  void reply(int error) {
    write(static_cast<int64_t>(error));
    for (const auto& output : outputs_) fwrite(output->data(), 1, output->bytes(), stdout);
    fflush(stdout);
  }

 private:
  static void read(void* to, size_t bytes) {
    if (bytes && fread(to, 1, bytes, stdin) != bytes) {
      fprintf(stderr, "shim: a request ends early\n");
      exit(1);
    }
  }

  template <class T>
  static T number() {
    T value;
    read(&value, sizeof value);
    return value;
  }

  template <class T>
  static void write(T value) {
    fwrite(&value, sizeof value, 1, stdout);
  }

  static void expect(char tag) {
    const char found = number<char>();
    if (found != tag) fail(found, tag);
  }

  [[noreturn]] static void fail(char found, char expected) {
    fprintf(stderr, "shim: a request has '%c' where '%c' was expected\n", found, expected);
    exit(1);
  }

  std::string name_;
  std::vector<std::unique_ptr<Buffer>> inputs_, outputs_, scratch_;
};

}  // namespace shim
