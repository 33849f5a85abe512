"""Split the measurements."""

import argparse

from helper import split

parser = argparse.ArgumentParser()
parser.add_argument("--data")
parser.add_argument("--train_data")
parser.add_argument("--test_data")
args = parser.parse_args()
split(args.data, args.train_data, args.test_data)
