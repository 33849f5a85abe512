"""Differences that are meant: what was recorded in 2022 and 2023, and is not so in the API that the SDK speaks now."""

import re

from tests.recorded.operations import Operation
from tests.recorded.shapes import Difference

_OLDER = "not in the API that the SDK speaks now"
_REASONS = (
    (r".*", r"less body\..*\.(autologgerSettings|secretsConfiguration|assetVersion|autoDeleteSetting)", _OLDER),
    (r".*", r"less body\.(.*\.)?(currentAttemptId|scheduleId|systemSettings|legacyDatasetType|etag)", _OLDER),
    (r".*/W", r"less body\.properties\.(softDelete|sasGetter|sdkTelemetry|linkedModelInventory)\w+", _OLDER),
    (r".*/jobs/\{\}", r"more body\.properties\.(notificationSetting|outputs\.\*\.assetName)", "told since 2023"),
    (r".*/rundata", r"different body\.runDefinition", "text in the API that the SDK speaks, which does not read it"),
    (
        r".*/datastores.*",
        r".* body\..*(credentialsType|secretsType|secrets|key|sasToken)",
        "a SAS is handed out since 2024",
    ),
    (
        r".*/jobs/\{\}",
        r"less body\.properties\.properties\..*",
        "told once the job is prepared, since April 2023",
    ),
    (r".*", r"more header (x-ms-meta-name|x-ms-meta-version)", "the SDK that was recorded sent none"),
)


def reason_for(operation: Operation, difference: Difference) -> str | None:
    """Why a difference is meant; None if it is not."""
    text = f"{difference.kind} {difference.where}"
    return next(
        (why for path, what, why in _REASONS if re.fullmatch(path, operation.path) and re.fullmatch(what, text)), None
    )
