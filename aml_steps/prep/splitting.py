"""Division of the rows into a training and a test part.

The patient split hashes each PatientID to a number in [0, 1) and tests the patients below ``test_share``. Whether a
patient is tested therefore depends on nothing but the id, the seed and the share: all rows of a patient go to one part,
new data moves nobody, and a larger share only ever adds patients to the test part. The hash is SHA-256 of the text
``<seed>:<id>``, which is the same on every machine and in every version, and can be recomputed in SQL or Spark.
"""

# PyArrow has no types and makes its compute functions when it is imported.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pandas as pd
import pyarrow as pa

from cells import ROWS_A_BLOCK
from data_file import Data

SPLITS = ("patient", "random")


@dataclass(frozen=True)
class Parameters:
    """How rows are prepared and divided.

    Attributes:
        test_share: Share of the patients (or rows) that go to the test part, 0.05 to 0.95.
        split: ``patient`` keeps a patient's rows together, ``random`` divides rows as ``train_test_split`` does.
        split_seed: Another seed gives another split, of either kind; 0 to 4294967295.
    """

    test_share: float = 0.3
    split: str = "patient"
    split_seed: int = 0


def hash_keys(keys: Iterable[bytes], count: int, seed: int) -> np.ndarray:
    """Hash keys to evenly spread numbers: the first eight bytes of the SHA-256 of ``<seed>:<key>``, big-endian.

    Args:
        keys: The keys.
        count: How many there are.
        seed: Another seed gives other numbers; 0 or greater.

    Returns:
        Numbers of shape (count,), uint64.
    """
    prefix = f"{seed}:".encode()
    # Eight bytes a key go straight into the array: no list of ten million Python objects.
    digests = np.fromiter((sha256(prefix + key).digest()[:8] for key in keys), dtype="S8", count=count)
    return digests.view(">u8").astype(np.uint64)


def hash_patients(data: Data, seed: int) -> np.ndarray:
    """Hash the PatientID of each row, or its content where it has no id, to numbers of shape (n_rows,), uint64."""
    count = len(data.values)
    if data.patients is None:
        return hash_keys(_row_bytes(data.values), count, seed)
    hashes = hash_keys(_id_bytes(data.patients), count, seed)
    anonymous = np.flatnonzero(data.patients.is_null().to_numpy())
    if len(anonymous):
        hashes[anonymous] = hash_keys(_row_bytes(data.values.iloc[anonymous]), len(anonymous), seed)
    return hashes


def _id_bytes(ids: pa.ChunkedArray) -> Iterator[bytes]:
    for start in range(0, len(ids), ROWS_A_BLOCK):
        yield from (text.encode() for text in ids.slice(start, ROWS_A_BLOCK).fill_null("").to_pylist())


def _row_bytes(values: pd.DataFrame) -> Iterator[bytes]:
    for start in range(0, len(values), ROWS_A_BLOCK):
        # So that equal rows have equal bytes: adding zero turns -0.0 into 0.0, and every NaN gets the same bits.
        block = values.iloc[start : start + ROWS_A_BLOCK].to_numpy(dtype="<f8") + 0.0
        block[np.isnan(block)] = np.nan
        yield from (row.tobytes() for row in block)


def split_rows(hashes: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into a training and a test part.

    Args:
        hashes: A hash for each row, equal for rows that must stay together; of shape (n_rows,), uint64.
        parameters: How to divide.

    Returns:
        Row positions of the training part and of the test part.
    """
    if parameters.split == "random":
        # Imported here because this import takes longer than all the rest of the step.
        from sklearn.model_selection import train_test_split

        rows = np.arange(len(hashes))
        train, test = train_test_split(rows, test_size=parameters.test_share, random_state=parameters.split_seed)
        return np.asarray(train), np.asarray(test)
    tested = (hashes >> np.uint64(11)) * 2.0**-53 < parameters.test_share
    return np.flatnonzero(~tested), np.flatnonzero(tested)
