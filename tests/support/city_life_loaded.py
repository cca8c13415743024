"""Imported by the interpreter that lives are forked from: loads the compiled kernels once for all of them."""

from tests.support.city_life import load_kernels

load_kernels()
