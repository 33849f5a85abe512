"""Drift: the watch over incoming data, compared with what the champion was trained on."""
