"""Fit the model."""

import argparse

from helper import fit

parser = argparse.ArgumentParser()
parser.add_argument("--train_data")
parser.add_argument("--reg_rate", type=float)
parser.add_argument("--model")
args = parser.parse_args()
fit(args.train_data, args.reg_rate, args.model)
