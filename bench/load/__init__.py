"""Processes beside a contender: a producer and a reader with a clock, and a lookup service."""
