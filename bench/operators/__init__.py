"""The operators beside what else a user could write: times, and the variance of estimates."""
