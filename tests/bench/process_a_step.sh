#!/bin/sh
# The four steps as a plain process each, in the current folder: process_a_step.sh PYTHON DATA REG_RATE
set -eu
steps=$(dirname "$0")/steps
rm -rf outputs
"$1" "$steps/prep/prep.py" --data "$2" --train_data outputs/train_data --test_data outputs/test_data
"$1" "$steps/train/train.py" --train_data outputs/train_data --reg_rate "$3" --model outputs/model
"$1" "$steps/evaluate/evaluate.py" --model outputs/model --test_data outputs/test_data --evaluation outputs/evaluation
"$1" "$steps/register/register.py" --model outputs/model --evaluation outputs/evaluation \
    --model_name bench-diabetes --registration outputs/registration
