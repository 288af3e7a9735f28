"""The methods of a draw."""

WITH_REPLACEMENT = ["multinomial", "stratified", "systematic"]
WITHOUT_REPLACEMENT = ["race", "pps", "topk"]
METHODS = WITH_REPLACEMENT + WITHOUT_REPLACEMENT
RANDOM_METHODS = [method for method in METHODS if method != "topk"]
