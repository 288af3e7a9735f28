// Switching from one stack to another. ucontext.h can do it on most systems, but asks the kernel
// each time; a few instructions do, and a launch has many thousands of switches.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) || defined(__aarch64__)

// Linux and macOS name sections and parts of addresses in ways of their own.
#if defined(__APPLE__)
#define SHIM_TEXT_BEGIN ".text\n"
#define SHIM_TEXT_END ""
#define SHIM_PAGE(name) #name "@PAGE"
#define SHIM_IN_PAGE(name) #name "@PAGEOFF"
#else
#define SHIM_TEXT_BEGIN ".pushsection .text\n"
#define SHIM_TEXT_END ".popsection\n"
#define SHIM_PAGE(name) #name
#define SHIM_IN_PAGE(name) ":lo12:" #name
#endif

// shim_switch_stacks(void** from, void* to) puts the registers that a call must keep on the stack,
// and takes those of another stack instead. A section's local symbol: every file that includes this
// has its own.
#if defined(__x86_64__)
asm(SHIM_TEXT_BEGIN R"(
  .p2align 4
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
)" SHIM_TEXT_END);
#else
asm(SHIM_TEXT_BEGIN R"(
  .p2align 4
shim_switch_stacks:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)" SHIM_TEXT_END);
#endif

namespace shim {

class Context {
 public:
  Context() = default;

  // Will run `entry`, which must not return.
  Context(char* stack, size_t size, void (*entry)()) {
#if defined(__x86_64__)
    // Six registers, `entry`, and where that would return to: the end, for who prints a stack.
    constexpr int kWords = 8, kEntry = 6;
#else
    constexpr int kWords = 20, kEntry = 11;  // x30
#endif
    const uintptr_t top = reinterpret_cast<uintptr_t>(stack + size) & ~static_cast<uintptr_t>(15);
    auto words = reinterpret_cast<uintptr_t*>(top) - kWords;
    for (int i = 0; i < kWords; ++i) words[i] = 0;
    words[kEntry] = reinterpret_cast<uintptr_t>(entry);
    stack_ = words;
  }

  // Goes on with `other`, until something goes on with this one.
  void switch_to(const Context& other) {
    void (*switch_stacks)(void**, void*);
#if defined(__x86_64__)
    asm("leaq shim_switch_stacks(%%rip), %0" : "=r"(switch_stacks));
#else
    asm("adrp %0, " SHIM_PAGE(shim_switch_stacks) "\n"
        "add %0, %0, " SHIM_IN_PAGE(shim_switch_stacks)
        : "=r"(switch_stacks));
#endif
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
