from tests.report.conftest import run_tiny, tiny_result

__all__ = ["run_tiny", "tiny_result"]
