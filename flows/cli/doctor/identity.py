"""Finding on the sign-in to Azure: which credential worked, or why none did."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flows.cli.doctor.findings import Finding, fail, ok, warn
from flows.cli.doctor.machine import CLIENT_IDS
from flows.cli.doctor.network import way_remedy

if TYPE_CHECKING:
    from flows.engines.azureml.sdk.identity import SignIn

MANAGED = "ManagedIdentityCredential"
SERVICE_PRINCIPAL = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
SIGN_IN = (
    "Sign in with `az login`; or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET of a service principal; "
    "or MANAGED_IDENTITY_CLIENT_ID, on a machine in Azure that has that identity"
)
# An endpoint that hands out tokens of managed identities is there, and refused: it does not know the client id.
_ENDPOINT_REFUSED = re.compile(r"Token request error|No identity has been assigned|Identity not found", re.IGNORECASE)


def identity_finding(sign_in: "SignIn", environment: Mapping[str, str]) -> Finding:
    """Who we are to Azure; or why nobody, a wrong managed identity told from none."""
    wanted = environment.get("MANAGED_IDENTITY_CLIENT_ID")
    if sign_in.credential is None:
        return _nobody(sign_in, wanted, environment)
    who = f"{sign_in.credential}: {principal(sign_in)}"
    end = sign_in.claims.get("exp", "")
    if end.isdecimal() and datetime.fromtimestamp(int(end), UTC) < datetime.now(UTC):
        return fail("identity", f"{who}, but its token has ended already", "See that this machine's clock is right")
    if wanted and sign_in.credential != MANAGED:
        told = f"{who}; not the managed identity that MANAGED_IDENTITY_CLIENT_ID names"
        return warn("identity", told, "To use that one", "export AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential")
    return ok("identity", who)


def principal(sign_in: "SignIn") -> str:
    """Whom a token is for, in a word."""
    claims = sign_in.claims
    user = claims.get("upn") or claims.get("preferred_username") or claims.get("unique_name")
    application = claims.get("appid") or claims.get("azp")
    managed = claims.get("xms_mirid", "").rpartition("/")[2]
    who = managed or user or (f"application {application}" if application else "whom its token does not name")
    return who + (f", tenant {claims['tid']}" if "tid" in claims else "")


def _nobody(sign_in: "SignIn", wanted: str | None, environment: Mapping[str, str]) -> Finding:
    if sign_in.stopped_by is not None:
        said = sign_in.said[sign_in.stopped_by]
        told = f"{sign_in.stopped_by} is set up here, and failed: {said}"
        return fail("identity", told, way_remedy(said, environment) or "Correct what it names, or unset its variables")
    managed = sign_in.said.get(MANAGED, "")
    if wanted and _ENDPOINT_REFUSED.search(managed):
        told = f"this machine has no managed identity with the client id {wanted} (MANAGED_IDENTITY_CLIENT_ID)"
        return fail("identity", told, "Assign it to this machine, or set the client id of one that is", CLIENT_IDS)
    if wanted:
        told = f"MANAGED_IDENTITY_CLIENT_ID is {wanted}, but nothing on this machine hands out managed identities"
        return fail("identity", f"{told} ({managed or 'none was asked'}), and no other credential is set up", SIGN_IN)
    missing = [name for name in SERVICE_PRINCIPAL if not environment.get(name)]
    if len(missing) < len(SERVICE_PRINCIPAL):
        told = f"no credential is set up: the service principal lacks {' and '.join(missing)}"
        return fail("identity", told, SIGN_IN)
    tried = ", ".join(sign_in.said) if len(sign_in.said) > 1 else "; ".join(map(": ".join, sign_in.said.items()))
    return fail("identity", f"no credential answered; tried: {tried}", SIGN_IN)
