#include "backend.h"

#include <array>
#include <string>

namespace isf {

namespace {

constexpr auto kDevices = static_cast<size_t>(at::COMPILE_TIME_MAX_DEVICE_TYPES);

// Zero before any backend is added, in whatever order the files' statics are initialised.
constinit std::array<const Backend*, kDevices> backends = {};

std::string devices() {
  std::string all;
  for (size_t i = 0; i < kDevices; ++i) {
    if (!backends[i]) continue;
    all += (all.empty() ? "" : ", ") +
           c10::DeviceTypeName(static_cast<at::DeviceType>(i), /*lower_case=*/true);
  }
  return all;
}

}  // namespace

AddBackend::AddBackend(at::DeviceType device, const Backend& backend) {
  backends[static_cast<size_t>(device)] = &backend;
}

const Backend& backend_of(at::Device device) {
  return *backends[static_cast<size_t>(device.type())];
}

void check_device(const Tensor& tensor, const char* name) {
  TORCH_CHECK_VALUE(backends[static_cast<size_t>(tensor.device().type())], name, " is on ",
                    tensor.device(), ", but this build has kernels for: ", devices());
  TORCH_CHECK_TYPE(tensor.layout() == at::kStrided, name, " has layout ", tensor.layout(),
                   ", but must be strided");
}

Element element_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return kDouble;
    case at::kHalf:
      return kHalf;
    case at::kBFloat16:
      return kBFloat16;
    default:
      return kFloat;
  }
}

Features features_of(const Tensor& rows) {
  if (!rows.defined()) return {};
  return {rows.const_data_ptr(), element_of(rows.scalar_type()), rows.stride(0), rows.size(1)};
}

}  // namespace isf
