"""Compute targets, the operations that make them, VM sizes, and quotas of cores."""

import uuid

from tests.azure_ml_service.arm import LOCATION, Arm
from tests.azure_ml_service.messages import ARM_HOST, Answer, Json, Refused, Request, Route, route
from tests.azure_ml_service.operations import SIGNATURE
from tests.azure_ml_service.state import Documents, now

REGION = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"
# Sizes by family: their cores.
SIZES = {
    "standardDFamily": {"STANDARD_D2": 2},
    "standardDSv2Family": {"STANDARD_DS2_V2": 2, "STANDARD_DS3_V2": 4},
    "standardFSv2Family": {"STANDARD_F2S_V2": 2, "STANDARD_F4S_V2": 4},
}


_UNSET: Json = {
    "disableLocalAuth": False,
    "description": None,
    "resourceId": None,
    "provisioningErrors": None,
    "isAttachedCompute": False,
}
_NOT_YET = ("currentNodeCount", "targetNodeCount", "nodeStateCounts", "allocationState")
_NODES = ("preparing", "running", "idle", "unusable", "leaving", "preempted")
_UNSET_OF_CLUSTER: Json = {
    "subnet": None,
    "currentNodeCount": 0,
    "targetNodeCount": 0,
    "nodeStateCounts": {f"{state}NodeCount": 0 for state in _NODES},
    "allocationState": "Steady",
    "allocationStateTransitionTime": "2024-01-01T00:00:00+00:00",
    "errors": None,
    "remoteLoginPortPublicAccess": "Enabled",
    "osType": "Linux",
    "virtualMachineImage": None,
    "isolatedNetwork": False,
    "propertyBag": {},
}


class Computes:
    """Answers for compute targets, their long-running operations, VM sizes and quotas.

    ``looks`` is how many times one that is being made is told to be so before it is ready, ``failure`` the code that
    it fails with, if any; ``quota`` says how many cores are in use and allowed (-1: no limit), by family or ``total``,
    and tier.
    """

    def __init__(self, arm: Arm, documents: Documents) -> None:
        self._arm = arm
        self._documents = documents
        self.quota: dict[tuple[str, str], tuple[int, int]] = {}
        self.reset()

    def reset(self) -> None:
        """Make computes at once and without failure again, and take back the quota."""
        self.looks = 0
        self.failure: str | None = None
        self.quota = {
            ("total", "dedicated"): (4, 100),
            ("total", "lowPriority"): (0, 50),
            ("standardDSv2Family", "dedicated"): (4, 24),
            ("standardDSv2Family", "lowPriority"): (0, -1),
            ("standardFSv2Family", "dedicated"): (0, 0),
        }

    def routes(self) -> list[Route]:
        """The routes of this part."""
        return [
            route("GET", ARM_HOST, "W/computes", self.list),
            route("GET", ARM_HOST, "W/computes/{name}", self.get),
            route("PUT", ARM_HOST, "W/computes/{name}", self.put),
            route("GET", ARM_HOST, f"{REGION}/computeOperationsStatus/{{name}}", self.operation),
            route("GET", ARM_HOST, f"{REGION}/usages", self.usages),
            route("GET", ARM_HOST, f"{REGION}/vmSizes", self.sizes),
        ]

    def add(self, name: str) -> None:
        """Add a compute cluster, unless there is one of that name."""
        scale = {"minNodeCount": 0, "maxNodeCount": 4, "nodeIdleTimeBeforeScaleDown": "PT120S"}
        nodes = {"vmSize": "STANDARD_DS3_V2", "vmPriority": "Dedicated", "osType": "Linux", "scaleSettings": scale}
        if self._documents.get("computes", name) is None:
            self._put(
                name, {"computeType": "AmlCompute", "properties": {"allocationState": "Steady", **nodes}}, "Succeeded"
            )

    def list(self, request: Request) -> Answer:
        return Answer.of({"value": [self._settled(name) for name in self._documents.keys("computes")]})

    def get(self, request: Request, name: str) -> Answer:
        found = self._settled(name)
        return Answer(404) if found is None else Answer.of(found)

    def put(self, request: Request, name: str) -> Answer:
        size = str(request.json["properties"]["properties"].get("vmSize")).upper()
        if not any(size in sizes for sizes in SIZES.values()):
            raise Refused(400, "BadRequest", f"Specified VmSize {size} is not supported in location {LOCATION}.")
        resource = self._put(name, request.json["properties"], "Creating", request.json.get("tags"))
        operation = str(uuid.uuid4())
        making = {"operation": operation, "looks": self.looks, "failure": self.failure}
        self._documents.put("computeOperations", name, making)
        region = REGION.format(subscription=self._arm.workspace.subscription, location=LOCATION)
        query = f"api-version={request.api_version}&service=new&{SIGNATURE}"
        url = f"https://{request.host}{region}/computeOperationsStatus/{operation}?{query}"
        # What is not there yet has no nodes, and no place.
        properties = {key: value for key, value in resource["properties"].items() if key != "computeLocation"}
        properties["properties"] = {
            key: None if key in _NOT_YET else value
            for key, value in properties["properties"].items()
            if key not in ("allocationStateTransitionTime", "propertyBag")
        }
        resource |= {"properties": properties, "tags": request.json.get("tags")}
        return Answer.of(resource, 201, Azure_AsyncOperation=url)

    def operation(self, request: Request, subscription: str, location: str, name: str) -> Answer:
        all_made = self._documents.all("computeOperations")
        made = next((one for one in all_made if one["operation"] == name), None)
        if made is None:
            raise Refused(404, "NotFound", f"There is no operation {name}.")
        if made["looks"]:
            return Answer.of({"status": "InProgress"})
        if made["failure"] is None:
            return Answer.of({"status": "Succeeded", "percentComplete": 100.0})
        error = {"code": made["failure"], "message": f"Could not create {name}."}
        return Answer.of({"status": "Failed", "percentComplete": 100.0, "error": error})

    def usages(self, request: Request, subscription: str, location: str) -> Answer:
        return Answer.of({"value": [self._usage(*key, *amounts) for key, amounts in self.quota.items()]})

    def sizes(self, request: Request, subscription: str, location: str) -> Answer:
        known = [(family, size, cores) for family, sizes in SIZES.items() for size, cores in sizes.items()]
        return Answer.of(
            {
                "value": [
                    {
                        "name": size,
                        "family": family,
                        "vCPUs": cores,
                        "gpus": 0,
                        "osVhdSizeMB": 1047552,
                        "maxResourceVolumeMB": 7168 * cores,
                        "memoryGB": 3.5 * cores,
                        "lowPriorityCapable": True,
                        "premiumIO": True,
                        "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
                    }
                    for family, size, cores in known
                ]
            }
        )

    def _put(self, name: str, properties: Json, state: str, tags: Json | None = None) -> Json:
        present = self._documents.get("computes", name)
        properties = {
            **_UNSET,
            "createdOn": present["properties"]["createdOn"] if present else now(),
            "modifiedOn": now(),
            "computeLocation": LOCATION,
            **properties,
            "provisioningState": state,
            "properties": {**_UNSET_OF_CLUSTER, **properties.get("properties", {})},
        }
        resource = {**self._arm.resource("computes", name, properties), "location": LOCATION, "tags": tags or {}}
        self._documents.put("computes", name, resource)
        return resource

    def _settled(self, name: str) -> Json | None:
        """A compute target in its present state; None if there is none."""
        with self._documents.lock:
            found = self._documents.get("computes", name)
            if found is None or found["properties"]["provisioningState"] != "Creating":
                return found
            with self._documents.change("computeOperations", name) as making:
                if making["looks"]:
                    making["looks"] -= 1
                    return found
            made = "Failed" if making["failure"] else "Succeeded"
            properties = {**found["properties"], "provisioningState": made}
            if making["failure"]:
                properties["provisioningErrors"] = [{"error": {"code": making["failure"], "message": "Not made."}}]
            self._documents.put("computes", name, {**found, "properties": properties})
            return {**found, "properties": properties}

    def _usage(self, family: str, tier: str, used: int, limit: int) -> Json:
        provider = "Microsoft.MachineLearningServices"
        words = {"dedicated": "Dedicated", "lowPriority": "Low Priority"}[tier]
        if family == "total":
            value, text, kind = f"Total{words.replace(' ', '')}Cores", f"Total Cluster {words} Regional vCPUs", tier
        else:
            short = family.removeprefix("standard").removesuffix("Family")
            value, text, kind = family, f"Standard {short} Family Cluster {words} vCPUs", f"vmFamily/{tier}"
        region = REGION.format(subscription=self._arm.workspace.subscription, location=LOCATION)
        return {
            "id": f"{region}/usages/{value}",
            "type": f"{provider}/{kind}Cores/usages",
            "unit": "Count",
            "currentValue": used,
            "limit": limit,
            "name": {"value": value, "localizedValue": text},
        }
