"""Fuzzing: random cases by the hundred, each with a seed that repeats it (``make fuzz CASES=20000``)."""
