"""Microsoft Entra ID and the managed identity: unsigned but well-formed tokens, and the check of what comes back."""

import base64
import json
import time
import uuid
from collections.abc import Sequence
from urllib.parse import parse_qs

from tests.azure_ml_service.messages import LOGIN_HOST, LOOPBACK, Answer, Json, Refused, Request, Route, route

TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
SECRET = "loopback-secret"
IDENTITY_PATH = "/_identity/token"
IMDS_PATH = "/metadata/identity/oauth2/token"


def make_token(audience: str, seconds: float = 3600.0) -> str:
    """An unsigned JWT."""
    now = int(time.time())
    payload = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now,
        "nbf": now,
        "exp": int(now + seconds),
        "tid": TENANT,
        "oid": CLIENT,
        "appid": CLIENT,
        "uti": uuid.uuid4().hex,
    }
    return ".".join((_part({"typ": "JWT", "alg": "none"}), _part(payload), "c2lnbmF0dXJl"))


def _part(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims(token: str) -> Json:
    """The claims of a token.

    Raises:
        ValueError: It is none.
    """
    part = token.split(".")[1] if token.count(".") == 2 else ""
    found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(found, dict):
        raise ValueError("not a JWT")
    return found


def check_token(request: Request, audiences: Sequence[str]) -> None:
    """Check the bearer token of a request.

    Raises:
        Refused: There is none, or it has expired, or it is for something else.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        found = claims(token) if kind.lower() == "bearer" else {}
    except ValueError:
        found = {}
    if not found:
        raise Refused(401, "AuthenticationFailed", "Authentication failed: there is no well-formed bearer token.")
    if found["exp"] < time.time():
        raise Refused(401, "ExpiredAuthenticationToken", "The access token expiry UTC time is in the past.")
    if found["aud"].rstrip("/") not in audiences:
        raise Refused(401, "InvalidAuthenticationTokenAudience", f"The token is for {found['aud']}.")


class Identity:
    """Hands out tokens. ``token_seconds`` is how long the next ones are good for."""

    def __init__(self) -> None:
        self.token_seconds = 3600.0
        self._issued = set[str]()
        self._revoked = set[str]()

    def revoke(self) -> None:
        """Take back every token that was handed out so far, however long it would be good for."""
        self._revoked |= self._issued

    def check(self, request: Request) -> None:
        """Check that the token of a request was not taken back.

        Raises:
            Refused: It was.
        """
        if request.headers.get("authorization", "").partition(" ")[2] in self._revoked:
            raise Refused(401, "ExpiredAuthenticationToken", "The access token was revoked.")

    def _make(self, audience: str) -> str:
        token = make_token(audience, self.token_seconds)
        self._issued.add(token)
        return token

    def routes(self) -> list[Route]:
        """The routes of this part."""
        configuration = "/{tenant}/v2.0/.well-known/openid-configuration"
        return [
            route("GET", LOGIN_HOST, configuration, self.configuration),
            route("GET", LOGIN_HOST, "/common/discovery/instance", self.discovery),
            route("POST", LOGIN_HOST, "/{tenant}/oauth2/v2.0/token", self.token),
            route("GET", LOOPBACK, IDENTITY_PATH, self.app_service),
            route("GET", LOOPBACK, IMDS_PATH, self.virtual_machine),
        ]

    def configuration(self, request: Request, tenant: str) -> Answer:
        base = f"https://{request.host}/{tenant}"
        return Answer.of(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "issuer": f"https://login.microsoftonline.com/{tenant}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code", "id_token"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    def discovery(self, request: Request) -> Answer:
        host = "login.microsoftonline.com"
        metadata = [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}]
        endpoint = f"https://{host}/{TENANT}/v2.0/.well-known/openid-configuration"
        return Answer.of({"tenant_discovery_endpoint": endpoint, "metadata": metadata})

    def token(self, request: Request, tenant: str) -> Answer:
        form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("client_id") != CLIENT or form.get("client_secret") != SECRET:
            text = "AADSTS7000215: Invalid client secret provided."
            return Answer.of({"error": "invalid_client", "error_description": text, "error_codes": [7000215]}, 401)
        audience = form["scope"].split()[0].removesuffix("/.default")
        seconds = int(self.token_seconds)
        token = self._make(audience)
        return Answer.of({"token_type": "Bearer", "expires_in": seconds, "access_token": token})

    def app_service(self, request: Request) -> Answer:
        """The managed identity, as App Service hands out its tokens."""
        if request.headers.get("x-identity-header") != SECRET:
            raise Refused(401, "unauthorized", "X-IDENTITY-HEADER is wrong.")
        if request.query.get("client_id", CLIENT) != CLIENT:
            text = "No Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            return Answer.of({"statusCode": 400, "message": text}, 400)
        return self._managed(request)

    def virtual_machine(self, request: Request) -> Answer:
        """The same, as a virtual machine does (IMDS)."""
        if request.query.get("client_id", CLIENT) != CLIENT:
            return Answer.of({"error": "invalid_request", "error_description": "Identity not found"}, 400)
        return self._managed(request)

    def _managed(self, request: Request) -> Answer:
        resource, seconds = request.query["resource"].rstrip("/"), self.token_seconds
        return Answer.of(
            {
                "access_token": self._make(resource),
                "expires_in": str(int(seconds)),
                "expires_on": str(int(time.time() + seconds)),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": CLIENT,
            }
        )
