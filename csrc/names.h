// The names that arguments go by, and what they mean.
#pragma once

#include <optional>
#include <string>

#include "problem.h"

namespace isf {

// Each throws an error that lists the names there are; `argument` is what it was passed as.

// The statistic behind a kind of score; "last_layer" starts from the gradient norm.
Statistic statistic_of(const std::string& kind, const char* argument);
Method method_of(const std::string& name);
// A power if there is an exponent, whatever the name.
Correction correction_of(const std::string& name, std::optional<double> exponent);

DrawKind draw_kind_of(const std::string& name);

const char* name_of(Method method);

}  // namespace isf
