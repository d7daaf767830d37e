"""Functional checks that the fixer never sees."""
