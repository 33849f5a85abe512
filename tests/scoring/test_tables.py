"""What is read and written of tables: whole rows in order, and no cell in a message."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.errors import DataAssetError, ParameterError, SettingsError
from flows.scoring.columns import columns_of_input
from flows.scoring.output import check_form, check_output, written
from flows.scoring.tables import BLOCK_BYTES, open_tables, portions

MARK = "7654.321"


def rows_of(path: Path, rows: int = 131_072) -> list[tuple[int, int, list[dict[str, object]]]]:
    found = portions(open_tables(path, "rows"), "rows", rows)
    return [(each.number, each.first_row, each.rows.to_pylist()) for each in found]


def test_cells_of_csv_are_the_text_of_the_file_and_portions_have_the_size_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes('\ufeffkey,Grüße\r\n007,"a,\nb"\r\nNA,\r\n1e3,é\r\n'.encode())
    assert rows_of(file, 2) == [
        (0, 0, [{"key": "007", "Grüße": "a,\nb"}, {"key": "NA", "Grüße": ""}]),
        (1, 2, [{"key": "1e3", "Grüße": "é"}]),
    ]


def test_a_large_csv_comes_in_portions_of_equal_size_whatever_the_blocks(tmp_path: Path) -> None:
    file, count = tmp_path / "rows.csv", 300_000
    file.write_text("key,text\n" + "".join(f"{number},{'x' * 30}\n" for number in range(count)))
    assert file.stat().st_size > 2 * BLOCK_BYTES
    found = list(portions(open_tables(file, "rows"), "rows", 70_000))
    assert [each.rows.num_rows for each in found] == [70_000] * 4 + [20_000]
    assert [each.first_row for each in found] == [0, 70_000, 140_000, 210_000, 280_000]
    keys = [key for each in found for key in each.rows.column("key").to_pylist()]
    assert keys == [str(number) for number in range(count)]
    shares = [each.share for each in found]
    assert shares == sorted(shares) and shares[-1] == 1.0
    ends = [min(count, each.first_row + 70_000) / count for each in found]
    assert shares == pytest.approx(ends, abs=0.05)  # of the rows, not of what Arrow has read ahead


def test_the_last_portion_of_a_csv_is_all_of_it_also_where_it_is_a_full_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("key\n" + "".join(f"{number}\n" for number in range(600)))
    found = list(portions(open_tables(file, "rows"), "rows", 200))
    assert [each.rows.num_rows for each in found] == [200] * 3
    assert [each.share for each in found] == pytest.approx([1 / 3, 2 / 3, 1.0], abs=0.01) and found[-1].share == 1.0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"a,b\n1,2\n{MARK}\n", "row 2 has 1 cells, and there are 2 columns"),
        (f"a,b\n1,2\n3,4\n1,{MARK},3\n", "row 3 has 3 cells, and there are 2 columns"),
        (b"a,b\n1,\xff\n", "it is not in UTF-8"),
        (b"a\xff,b\n", "neither CSV in UTF-8 nor Parquet"),
        ("", "is empty|does not"),
        ("a,a\n1,2\n", "it has a more than once"),
        ("a\tb\n1\t2\n", "separated by tabs"),
        (b"PAR1" + b"x" * 100 + b"PAR1", "it is no whole Parquet file"),
        (b"a,b\n\0\0\n", "neither CSV in UTF-8 nor Parquet"),
    ],
    ids=lambda given: "" if isinstance(given, bytes) else given[:20],
)
def test_what_cannot_be_read_is_told_without_a_cell(tmp_path: Path, content: str | bytes, told: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataAssetError, match=told) as caught:
        rows_of(file)
    assert MARK not in str(caught.value) and "rows.csv" in str(caught.value)


@pytest.mark.parametrize("content", ["a,b\n1\n", "a,a\n1,2\n", "PAR1", ""])
def test_a_path_that_names_the_input_is_told_once(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(content)
    with pytest.raises(DataAssetError) as caught:
        list(portions(open_tables(file, str(file)), str(file)))
    assert str(caught.value).count(str(file)) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataAssetError) as caught:
        open_tables(empty, str(empty))
    assert str(caught.value).count(str(empty)) == 1


def test_a_file_without_rows_among_others_is_no_portion(tmp_path: Path) -> None:
    for name, text in (("1", "a,b\n"), ("2", "a,b\n1,2\n"), ("3", "a,b\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    assert rows_of(tmp_path) == [(0, 0, [{"a": "1", "b": "2"}])]


def test_a_damaged_parquet_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": list(range(50_000))}), file, row_group_size=10_000, write_page_checksum=True)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataAssetError, match="damaged"):
        rows_of(file)


def test_files_of_a_folder_need_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n1,2\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataAssetError, match=r"2\.csv has other columns"):
        open_tables(tmp_path, "rows")
    with pytest.raises(DataAssetError, match="have no CSV or Parquet file"):
        open_tables(empty, "rows")


def test_columns_are_divided_and_what_is_missing_or_taken_is_told() -> None:
    signature = [{"name": "x"}, {"name": "y", "required": False}]
    found = columns_of_input(["key", "x", "other"], signature, "rows", "m:1")
    assert (found.features, found.passed_on) == (("x",), ("key", "other"))
    with pytest.raises(DataAssetError, match="rows lack x, which m:1 needs; they have key, y"):
        columns_of_input(["key", "y"], signature, "rows", "m:1")
    with pytest.raises(DataAssetError, match="have the column label, which the output has too"):
        columns_of_input(["x", "label"], signature, "rows", "m:1")
    with pytest.raises(DataAssetError, match="no signature"):
        columns_of_input(["x"], [], "rows", "m:1")


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".pq"])
def test_an_output_is_whole_or_as_it_was(tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"scores{ending}"
    output.write_text("from before")
    output.chmod(0o640)
    table = pa.table({"key": ["1", None], "n": [1, 2], "p": [0.1, 1 / 3]})
    with pytest.raises(ZeroDivisionError), written(output) as rows:
        rows.write(table)
        raise ZeroDivisionError
    assert output.read_text() == "from before" and list(tmp_path.iterdir()) == [output]
    with written(output) as rows:
        rows.write(table)
        rows.write(pa.table({"key": ['a,"b"', "c\nd"], "n": [3, 4], "p": [1e-20, 1.0]}))
    assert list(tmp_path.iterdir()) == [output] and output.stat().st_mode & 0o777 == 0o640
    if ending == ".csv":
        assert output.read_text().splitlines()[:3] == ["key,n,p", "1,1,0.1", ",2,0.3333333333333333"]
        assert rows_of(output)[0][2][2:] == [
            {"key": 'a,"b"', "n": "3", "p": "1e-20"},
            {"key": "c\nd", "n": "4", "p": "1"},
        ]
    else:
        assert pq.read_table(output).column("key").to_pylist() == ["1", None, 'a,"b"', "c\nd"]


def test_lists_are_not_for_csv(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "tags": [["a"]]}), tmp_path / "rows.parquet")
    (table,) = open_tables(tmp_path / "rows.parquet", "rows")
    check_form(tmp_path / "scores.csv", table, ["x"])
    check_form(tmp_path / "scores.parquet", table, ["tags"])
    with pytest.raises(DataAssetError, match=r"tags is list<.*>, which CSV cannot have"):
        check_form(tmp_path / "scores.csv", table, ["tags"])


def test_an_output_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link.csv").symlink_to(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(ParameterError, match="is the input"):
        check_output(tmp_path / "link.csv", tmp_path / "rows.csv")
    with pytest.raises(SettingsError, match="cannot be made"):
        check_output(tmp_path / "file" / "scores.csv", None)
