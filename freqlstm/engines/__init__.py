"""Engines: candles, predictions and a strategy become fills."""
