"""Numbers to text: the scorecard in the terminal, the summary in Markdown, and what both need to show other people's text safely.

Nothing here computes a number, reads a file or imports pytest.
"""
