"""This repository is a gym root like any other; here stands only what its own tests need."""

pytest_plugins = ["pytester"]
