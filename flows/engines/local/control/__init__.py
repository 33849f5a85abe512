"""Choices and loops on this machine."""
