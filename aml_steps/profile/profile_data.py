"""Draw the data: the distributions of each class, the missing cells and the correlations.

Writes into ``profile``: ``profile.html``, which needs no other file, and its pictures as PNG.
"""

from __future__ import annotations

import argparse
import html
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from diabetes_steps import LABEL, DataError, as_measured, embedded, html_page, html_table, png, read_rows

ROWS_DRAWN = 200_000  # of more training rows a sample is drawn; the table is computed from all
COLOURS = {"train": "#2f6fde", "test": "#c56a08"}
CLASSES = {0: ("#8a92a3", "not diabetic"), 1: ("#2f6fde", "diabetic")}
INK, SOFT, FAINT = "#1f2430", "#667085", "#c9ced8"
PICTURES = {
    "distributions": "Training rows by class, each class drawn to the same area, without the largest 0.5 % of values",
    "missingness": "Share of the cells that are missing",
    "correlations": "Correlation of the training rows, Pearson, where both are measured",
}


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Describe each feature.

    Args:
        rows: Rows with features and label.

    Returns:
        A frame with a row for each feature and the columns ``missing`` (share, 0 to 1), ``mean``, ``min``, ``median``
        and ``max``.
    """
    features = rows.drop(columns=LABEL)
    figures = {"mean": features.mean(), "min": features.min(), "median": features.median(), "max": features.max()}
    return pd.DataFrame({"missing": features.isna().mean(), **figures})


def draw_distributions(rows: pd.DataFrame) -> Figure:
    """Draw a histogram of each feature, one outline for each class."""
    features = [column for column in rows if column != LABEL]
    lines = -(-len(features) // 4)
    figure = Figure(figsize=(11, 2.5 * lines + 0.5), dpi=130, layout="constrained")
    panels = figure.subplots(lines, 4, squeeze=False).ravel()
    for axes, feature in zip(panels, features, strict=False):
        values = rows[feature].to_numpy()
        edges = _edges(values)
        for label, (colour, name) in CLASSES.items():
            of_class = values[rows[LABEL].to_numpy() == label]
            counts = np.histogram(of_class[~np.isnan(of_class)], edges)[0]
            shares = counts / max(counts.sum(), 1)
            axes.stairs(shares, edges, color=colour, fill=True, alpha=0.3)
            axes.stairs(shares, edges, color=colour, linewidth=1.6, label=name)
        axes.set_title(feature, size=11, color=INK, loc="left", parse_math=False)
        axes.set_yticks([])
        axes.locator_params(axis="x", nbins=6, integer=_whole(values))
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        axes.tick_params(color=FAINT, labelcolor=SOFT, labelsize=9)
    for axes in panels[len(features) :]:
        axes.set_visible(False)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=2, frameon=False)
    return figure


def _edges(values: np.ndarray) -> np.ndarray:
    """Bin edges up to the 99.5th percentile, so that a few outliers do not push all others into one bin."""
    measured = values[~np.isnan(values)]
    if not len(measured):
        return np.array([0.0, 1.0])
    low, high = measured.min(), np.quantile(measured, 0.995)
    whole = _whole(values)
    if whole and high - low <= 30:
        return np.arange(low - 0.5, high + 1)
    # A bin holds equally many whole numbers, since one that held more would look like a peak.
    step = max(np.ceil((high - low) / 24), 1) if whole else (high - low) / 24 or 1
    return np.arange(low, high + step, step)


def _whole(values: np.ndarray) -> bool:
    return bool(np.all(np.isnan(values) | (values == np.round(values))))


def draw_missingness(summaries: dict[str, pd.DataFrame]) -> Figure:
    """Draw the share of missing cells of each feature, the training part beside the test part."""
    features = [str(feature) for feature in summaries["train"].index]
    figure = Figure(figsize=(7, 0.45 * len(features) + 1.1), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(features))
    most = max(float(summary["missing"].max()) for summary in summaries.values())
    for offset, (part, colour) in zip((-0.19, 0.19), COLOURS.items(), strict=True):
        shares = summaries[part]["missing"].to_numpy()
        axes.barh(places + offset, shares, 0.34, color=colour, label=part)
        for place, share in zip(places + offset, shares, strict=True):
            text = "0" if share == 0 else f"{share:.1%}"
            axes.annotate(text, (share, place), (4, 0), textcoords="offset points", va="center", size=8, color=SOFT)
    axes.set_yticks(places, features, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max(most * 1.12, 0.01))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, length=0)
    axes.grid(axis="x", color=FAINT, alpha=0.35, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="best")
    return figure


def draw_correlations(rows: pd.DataFrame) -> Figure:
    """Draw the Pearson correlation of each pair of columns, -1 to 1; the label is the last row."""
    table = rows[[*(column for column in rows if column != LABEL), LABEL]].corr()
    names = [str(name) for name in table]
    shown = table.to_numpy(copy=True)
    shown[np.triu_indices(len(names))] = np.nan  # each pair once
    figure = Figure(figsize=(7, 6), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("signed", ["#c56a08", "#ffffff", "#2f6fde"])
    axes.imshow(shown[1:, :-1], cmap=colours, vmin=-1, vmax=1)
    for row, column in np.argwhere(np.tri(len(names) - 1)).tolist():
        value = float(shown[row + 1, column])
        text = "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")
        axes.text(column, row, text, ha="center", va="center", size=9, color="white" if abs(value) > 0.7 else INK)
    axes.set_xticks(
        range(len(names) - 1), names[:-1], rotation=35, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_yticks(range(len(names) - 1), names[1:], parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    return figure


def draw(rows: pd.DataFrame, summaries: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    """Draw all pictures, of at most ``ROWS_DRAWN`` training rows.

    Args:
        rows: Training rows.
        summaries: What :func:`summarise` returns for the parts ``train`` and ``test``.

    Returns:
        PNG files by name, in the order of ``PICTURES``.
    """
    drawn = rows.sample(ROWS_DRAWN, random_state=0) if len(rows) > ROWS_DRAWN else rows
    figures = {
        "distributions": draw_distributions(drawn),
        "missingness": draw_missingness(summaries),
        "correlations": draw_correlations(drawn),
    }
    return {name: png(figures[name]) for name in PICTURES}


def page(parts: dict[str, pd.DataFrame], summaries: dict[str, pd.DataFrame], pictures: dict[str, bytes]) -> str:
    """Write the profile as one HTML page, its pictures inside."""
    counts = [f"{len(rows):,} {part} rows, {rows[LABEL].mean():.1%} diabetic" for part, rows in parts.items()]
    sampled = f" Pictures show a sample of {ROWS_DRAWN:,} training rows." if len(parts["train"]) > ROWS_DRAWN else ""
    tables = "\n".join(_table(part, summary) for part, summary in summaries.items())
    body = f'<div class="beside">\n{tables}\n</div>\n{embedded(pictures, PICTURES)}'
    return html_page("Data profile", "; ".join(counts) + "." + sampled, body)


def _table(part: str, summary: pd.DataFrame) -> str:
    rows = summary.apply(_cells)
    body = [
        [html.escape(str(feature)), *row] for feature, row in zip(rows.index, rows.to_numpy().tolist(), strict=True)
    ]
    return f"<div><h2>Columns of the {part} rows</h2>\n{html_table(['', *map(str, rows)], body)}</div>"


def _cells(figure: pd.Series[float]) -> pd.Series[str]:
    form = "{:.1%}" if figure.name == "missing" else "{:,.4g}"
    return figure.map(lambda value: "–" if np.isnan(value) else form.format(value))


def main(argv: list[str] | None = None) -> int:
    """Run the step with the arguments of component.yml; return the exit code, 2 for rows that it cannot use."""
    parser = argparse.ArgumentParser(prog="profile", description=__doc__, allow_abbrev=False)
    parser.add_argument("--train_data", type=Path, required=True, help="Parquet, as prep writes it")
    parser.add_argument("--test_data", type=Path, required=True, help="Parquet, as prep writes it")
    parser.add_argument("--profile", type=Path, required=True, help="folder for the page and its pictures")
    arguments = parser.parse_args(argv)
    files = {"train": arguments.train_data, "test": arguments.test_data}
    try:
        parts = {part: as_measured(read_rows(path)) for part, path in files.items()}
        if list(parts["train"]) != list(parts["test"]):
            raise DataError(f"{files['train']} and {files['test']} do not have the same columns in the same order")
        if len(parts["train"].columns) == 1:
            raise DataError(f"{files['train']} has no column but {LABEL}")
    except DataError as error:
        print(f"profile: {error}", file=sys.stderr)
        return 2
    summaries = {part: summarise(rows) for part, rows in parts.items()}
    pictures = draw(parts["train"], summaries)
    for name, picture in pictures.items():
        (arguments.profile / f"{name}.png").write_bytes(picture)
    (arguments.profile / "profile.html").write_text(page(parts, summaries, pictures), encoding="utf-8")
    print(f"profile.html and {len(pictures)} pictures of {sum(map(len, parts.values())):,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
