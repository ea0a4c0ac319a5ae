"""What isolates a program: one module for each backend, behind the interface of `sandbox`."""
