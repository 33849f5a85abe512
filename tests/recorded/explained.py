"""Differences that are meant: what older answers did not tell yet, and what nobody reads.

The API of 2025 still tells properties that the SDK's models do not have, and so nobody here can read them.
"""

import re

from tests.recorded.operations import Operation
from tests.recorded.shapes import Difference

_UNREAD = "told until 2026, and not in the SDK's models"
_REASONS = (
    (r".*", r"less body\..*\.(autologgerSettings|secretsConfiguration|assetVersion|autoDeleteSetting)", _UNREAD),
    (r".*", r"less body\.(.*\.)?(currentAttemptId|scheduleId|systemSettings|legacyDatasetType|etag)", _UNREAD),
    (
        r".*",
        r"less body\..*\.(intellectualProperty|enableBatchPrivateLink|provisioningWarnings|pathOnCompute)",
        _UNREAD,
    ),
    (r".*", r"less body\..*\.(locations|maxInstanceCount|priority|parentJobName|privateNetworkConnection)", _UNREAD),
    (r".*/(runs/.*|rundata)", r"less body\..*\.(debugInfo|applicationACR|clientApplicationId)", _UNREAD),
    (r".*/(runs/.*|rundata)", r"less body\.(.*\.)?compute\.(armId|instanceType|properties)", _UNREAD),
    (
        r".*/(runs/.*|rundata)",
        r"different body\.(.*\.)?(createdBy|lastModifiedBy)\.(userAltSecId|userIdp)",
        "a guest's account has them",
    ),
    (
        r".*/(runs/.*|rundata)",
        r"more body\.(.*\.)?properties\.(azureml\.moduleFamilyId|_azureml\.ClusterName)",
        "told since 2024",
    ),
    (
        r".*/batchEndpoints/\{\}/deployments/\{\}",
        r"less body\.properties\.properties\.(AzureAsyncOperationUri|azureml\.onlineendpointid)",
        "not told since April 2023",
    ),
    (r".*/batchEndpoints/\{\}", r"less body\.identity", "not told since 2023"),
    (r"/\{\}\?comp=list", r"(less|different) body\.EnumerationResults\..*", "nobody reads them"),
    (r".*/(components|data)/.*", r"less body\.(.*\.)?stage", _UNREAD),
    (r".*/W", r"less body\.properties\.(softDelete|sasGetter|sdkTelemetry|linkedModelInventory)\w+", _UNREAD),
    (r".*/W", r"less body\.properties\.(allowRoleAssignmentOnRG|creationTime|endpointResources|azure\w+)", _UNREAD),
    (r".*/W", r"less body\.properties\.(EnableSoftwareBillOfMaterials|ipAllowlist|networkAcls)", _UNREAD),
    (r".*/W", r"less body\.properties\.managedNetwork\.(changeableIsolationModes|enableFirewallLog)", _UNREAD),
    (r".*/W", r"more body\.properties\.(managedNetwork\.\w+|systemDatastoresAuthMode)", "told since 2025"),
    (r".*/W", r"more body\.properties\.enableServiceSideCMKEncryption", "told since 2025"),
    (r".*/jobs/\{\}", r"more body\.properties\.(notificationSetting|outputs\.\*\.assetName)", "told since 2023"),
    (r".*/jobs/\{\}", r"(less|different) body\.properties\.queueSettings", "a tier since 2024"),
    (r".*/jobs/\{\}", r"more body\.properties\.properties\._azureml\.ClusterName", "told since 2024"),
    (r".*/components/.*", r"more body\.properties\.provisioningState", "told since 2024"),
    (r".*/deployments", r"more body\..*\.dataCollector", "told since 2023"),
    (r".*/mfeOperationsStatus/.*", r"more body\.endTime", "in the year 1 since 2025"),
    (r".*/rundata", r"different body\.runDefinition", "text in the API that the SDK speaks, which does not read it"),
    (
        r".*/datastores/.*/listSecrets",
        r".* body\..*(secretsType|secrets|key|sasToken)",
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
