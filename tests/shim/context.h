// Switching from one stack to another. ucontext.h can do it everywhere, but asks the kernel each
// time; on x86-64 a few instructions do, and a launch has many thousands of switches.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)

// Puts the registers that a call must keep on the stack, and takes those of another stack instead.
// A section's local symbol: every file that includes this has its own.
asm(R"(
.pushsection .text
.type shim_switch_stacks, @function
shim_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.popsection
)");

namespace shim {

class Context {
 public:
  Context() = default;

  // Will run `entry`, which must not return.
  Context(char* stack, size_t size, void (*entry)()) {
    constexpr int kRegisters = 6;
    auto top = reinterpret_cast<uintptr_t*>(reinterpret_cast<uintptr_t>(stack + size) & ~15ull);
    *--top = 0;  // where `entry` would return to: the end, for who prints a stack
    *--top = reinterpret_cast<uintptr_t>(entry);
    for (int i = 0; i < kRegisters; ++i) *--top = 0;
    stack_ = top;
  }

  // Goes on with `other`, until something goes on with this one.
  void switch_to(const Context& other) {
    void (*switch_stacks)(void**, void*);
    asm("leaq shim_switch_stacks(%%rip), %0" : "=r"(switch_stacks));
    switch_stacks(&stack_, other.stack_);
  }

 private:
  void* stack_ = nullptr;
};

}  // namespace shim

#else

#include <ucontext.h>

namespace shim {

class Context {
 public:
  Context() = default;

  Context(char* stack, size_t size, void (*entry)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = size;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }

  void switch_to(const Context& other) { swapcontext(&context_, &other.context_); }

 private:
  ucontext_t context_;
};

}  // namespace shim

#endif
