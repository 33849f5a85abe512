"""Measure the model."""

import argparse

from helper import evaluate

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--test_data")
parser.add_argument("--evaluation")
args = parser.parse_args()
evaluate(args.model, args.test_data, args.evaluation)
