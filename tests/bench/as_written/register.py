"""Register the model."""

import argparse

from helper import register

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--evaluation")
parser.add_argument("--model_name")
parser.add_argument("--registration")
args = parser.parse_args()
register(args.model, args.evaluation, args.model_name, args.registration)
