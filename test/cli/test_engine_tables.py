import io

from rich.console import Console

from avperception.cli.engine_tables import drop_text, exceptions_table, sensitivity_table
from avperception.engines.precision import LayerException, MetricResult, PrecisionReport, SensitivityRow

REPORT = PrecisionReport(
    "int8",
    exceptions=(LayerException("head/[last]", "fp16", "left out of int8 by the sensitivity search"),),
    table=(
        SensitivityRow(("stem/a", "stem/b", "stem/c", "stem/d", "stem/e"), 0.004, kept_out=False),
        SensitivityRow(("head/[last]",), 0.0931, kept_out=True),
    ),
    metric=MetricResult("AP50", 0.0071, 0.0042, 32, 30, held_out_bound=0.0095),
)


def lines(table: object) -> list[str]:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table)
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_the_search_is_shown_the_costliest_layers_first():
    assert lines(sensitivity_table(REPORT.table)) == [
        "layers drop in INT8 kept out",
        "head/[last] 9.31 % yes",
        "stem/a, stem/b, stem/c and 2 more 0.40 %",
    ]


def test_layers_in_another_precision_are_shown_with_the_reason():
    assert lines(exceptions_table(REPORT))[1] == "head/[last] fp16 left out of int8 by the sensitivity search"


def test_what_the_precision_costs_is_one_line():
    assert drop_text(REPORT) == (
        "drop of AP50, FP32's results as truth: 0.71% on 32 images, 0.42% on 30 held out "
        "(19 times of 20 below 0.95% on others of the kind)"
    )
    assert drop_text(PrecisionReport("fp16")) == ""
    plain = PrecisionReport("int8", metric=MetricResult("mIoU", 0.043, None, 24, 0))
    assert "another --calibrator may lose less, `--max-drop 1%`" in drop_text(plain)
