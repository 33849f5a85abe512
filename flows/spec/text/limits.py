"""Limits on the size of a YAML file. Real jobs stay far below these.

Each limit is checked before what it limits is made, so that refusing a file takes neither long nor much memory.
"""

# The largest public pipelines have some 100 KB. Two passes over the text, at a few MB a second, stay below seconds.
MAX_FILE_BYTES = 4 << 20

# libyaml composes recursively, on the C stack: deeper text would end the process, not raise.
MAX_DEPTH = 100

# Mappings, lists, numbers and texts, each as often as an alias repeats it: aliases of aliases grow exponentially.
MAX_VALUES = 100_000

# Linux hands no longer word to a program (MAX_ARG_STRLEN, less the zero at its end): neither a command to its shell,
# nor the value of a variable, such as AZURE_ML_INPUT_<name>, to a step.
MAX_TEXT_BYTES = 131_071

# No name of an input, variable or tag is as long; a message quotes a key whole.
MAX_KEY_BYTES = 1_000

# All texts, and all keys with those that they stand in (jobs.train.inputs.rate), as often as an alias repeats them.
MAX_CHARACTERS = 8 << 20

# Lines that begin with a percent sign: libyaml compares every such directive with all the others.
MAX_DIRECTIVES = 100

# What reading a job takes in all: the values of every file, each time that a step or an environment refers to it.
MAX_VALUES_IN_ALL = 500_000

# Faults and warnings. To find the nearest right name takes a millisecond for each.
MAX_FINDINGS = 500

# Characters of what a message says, which may quote a text.
MAX_MESSAGE = 1_000

# Names that a message proposes or lists.
MAX_NAMES = 100

# Pipelines inside of pipelines; each level keeps the places of all keys below it.
MAX_NESTING = 10

# Of a whole job, those of nested pipelines among them.
MAX_STEPS = 5_000
