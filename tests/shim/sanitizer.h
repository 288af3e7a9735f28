// SHIM_ASAN is defined where AddressSanitizer looks on: GCC and clang say it in ways of their own.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_ASAN
#endif
#endif

#if defined(SHIM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
