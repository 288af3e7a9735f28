"""The same as `python -m bench gpu`, where nothing is installed that draws figures."""

import argparse

from bench.operators.gpu import suite

parser = argparse.ArgumentParser(prog="python -m bench.operators.gpu", description=suite.__doc__)
suite.add_arguments(parser)
suite.run(parser.parse_args())
