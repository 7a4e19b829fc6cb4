"""Sending a finished file: RFC 9110 ranges and conditions, RFC 6266 names, bytes without a thread hop."""
