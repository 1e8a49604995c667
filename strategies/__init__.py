"""The strategies that ship with freqlstm: examples to read and copy."""
