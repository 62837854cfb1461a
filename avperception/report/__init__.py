"""What came out of a recording as one HTML file that needs nothing else: figures, pictures, a film."""

from avperception.report.film import Film
from avperception.report.page import Report, write_report
from avperception.report.versions import versions

__all__ = ["Film", "Report", "versions", "write_report"]
