"""Picture of a drift report: a histogram of each feature, with the incoming rows drawn over the champion's."""

import io
from typing import TYPE_CHECKING, Any

from flows.drift.statistics import DriftReport, FeatureDrift

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS_A_LINE = 4
REFERENCE, INCOMING, DRIFTED = "#8a92a3", "#2f6fde", "#c2410c"
INK, SOFT, FAINT = "#1f2430", "#667085", "#c9ced8"


def draw(report: DriftReport) -> bytes:
    """Draw a report as PNG; features that have drifted are framed, and say so. Equal reports give equal bytes."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    lines = -(-len(report.features) // PANELS_A_LINE)
    figure = Figure(figsize=(10.4, 2.6 * lines + 0.5), dpi=130, layout="constrained")
    panels: Any = figure.subplots(lines, PANELS_A_LINE, squeeze=False).ravel()
    for axes, feature in zip(panels, report.features, strict=False):
        _draw_feature(axes, feature)
    for axes in panels[len(report.features) :]:
        axes.set_visible(False)
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.1, h_pad=0.08)
    legend = [
        Patch(color=REFERENCE, alpha=0.5, label=f"champion's data, {report.reference_rows:,} rows"),
        Patch(color=INCOMING, alpha=0.5, label=f"incoming data, {report.incoming_rows:,} rows"),
    ]
    if report.drifted:
        legend.append(Patch(color=DRIFTED, alpha=0.5, label="incoming data, drifted"))
    figure.legend(handles=legend, loc="outside upper left", ncols=3, frameon=False, fontsize=11, labelcolor=INK)
    file = io.BytesIO()
    # Without the version that matplotlib would write in, equal reports give equal files everywhere.
    figure.savefig(file, format="png", facecolor="white", metadata={"Software": None})
    return file.getvalue()


def _draw_feature(axes: "Axes", feature: FeatureDrift) -> None:
    colour = DRIFTED if feature.drifted else INCOMING
    shown = feature.histogram
    axes.stairs(shown.reference, shown.edges, color=REFERENCE, fill=True, alpha=0.45)
    axes.stairs(shown.incoming, shown.edges, color=colour, fill=True, alpha=0.18)
    axes.stairs(shown.incoming, shown.edges, color=colour, linewidth=1.8)
    axes.set_title(feature.feature, size=11, color=INK, loc="left", weight="bold" if feature.drifted else "normal")
    said = f"PSI {feature.psi:.2f}" + (", drifted" if feature.drifted else "")
    if max(feature.reference_missing, feature.incoming_missing) >= 0.005:  # shows as 1 %
        said += f"; missing {feature.reference_missing:.0%} → {feature.incoming_missing:.0%}"
    axes.set_xlabel(said, size=10, color=DRIFTED if feature.drifted else SOFT, loc="left")
    axes.set_yticks([])
    axes.set_ylim(0, max(*shown.reference, *shown.incoming, 0.01) * 1.08)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(color=FAINT, labelcolor=SOFT, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(feature.drifted or side == "bottom")
        spine.set(color=DRIFTED if feature.drifted else FAINT, linewidth=1.4 if feature.drifted else 0.8)
