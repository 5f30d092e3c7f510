"""The report: an HTML page and a Markdown card for people, drawn from an artifact and its receipt.

A report is a view. It shows what the documents say and how each claim can be checked; it decides
nothing, and it never stands in for `kolm verify`. Everything a model said is untrusted text.
"""

from kolm.report.facts import Facts, facts_of
from kolm.report.page import html_page
from kolm.report.summary import markdown_card

__all__ = ["Facts", "facts_of", "html_page", "markdown_card"]
