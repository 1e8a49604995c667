"""The signals that ship with freqlstm."""
