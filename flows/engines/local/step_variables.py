"""Environment variables of the steps: those of this machine that do not look like a secret.

On Azure ML a step has none of them. Here it needs many, and nobody can list them all: PATH, HOME, the locale, proxies,
CUDA and library paths, caches such as HF_HOME, threads of OpenMP, and whatever a person's own scripts read. A list of
what is allowed would break those silently; so this is a list of what is withheld, by name and by value. It is broad: if
a step fails and its log names a variable that was withheld, the message says so (:func:`wanted`). To pass a variable on
anyway, name it in ``TANDEM_PASS_TO_STEPS``, such as ``"HF_TOKEN AWS_*"``.

Withheld are Prefect's settings, the clouds' and what gives an identity in them, what signs in to an MLflow server
(unless the step logs to it, see :mod:`flows.mlflow_store.places`), passwords, tokens, keys, connection strings, the
agent of ssh, and addresses with a password in them, but for those of proxies, without which a step reaches nothing. A
step that tracks into a workspace gets what azure-identity reads, and nothing else of the clouds.
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from flows.engines.kind import Where

PASS = "TANDEM_PASS_TO_STEPS"

_PREFIXES = (
    *("PREFECT_", "AZURE_", "ARM_", "IDENTITY_", "MSI_", "IMDS_", "MANAGED_IDENTITY_", "DEFAULT_IDENTITY_"),
    *("AWS_", "GOOGLE_", "GCP_", "GCLOUD_", "CLOUDSDK_", "OCI_", "ALIBABA_CLOUD_", "DATABRICKS_", "SNOWFLAKE_"),
    *("VAULT_", "MLFLOW_TRACKING_USERNAME"),
)
# A name such as PG_PASSWORD is split into words. One of them equals, contains or ends with one of these.
_WORDS = frozenset(
    {
        *("AUTH", "OAUTH", "BEARER", "COOKIE", "COOKIES", "JWT", "OTP", "PAT", "PIN", "PASS", "ASKPASS", "PWD", "SAS"),
        *("CRED", "CREDS", "DSN", "SIGNATURE", "WEBHOOK", "NETRC", "KUBECONFIG", "CONNSTR"),
    }
)
_PARTS = ("PASSWORD", "PASSWD", "PASSPHRASE", "PASSFILE", "SECRET", "CREDENTIAL", "CONNECTIONSTRING")
_ENDINGS = ("TOKEN", "TOKENS", "KEY", "KEYS")
_CONNECTION = re.compile(
    r"CONN(ECTION)?_STR|DOCKER_(AUTH_)?CONFIG$|"
    r"(^|_)(DATABASE|DB|SQL\w*|PG|POSTGRES\w*|MYSQL|MARIADB|MONGO\w*|REDIS|AMQP|RABBITMQ|BROKER|JDBC|ODBC)_?(URL|URI)S?$"
)
_SECRET_VALUE = re.compile(
    r"://[^\s/@:]*:[^\s/@]+@|[?&;]sig=|-----BEGIN [A-Z ]*PRIVATE KEY|"
    r"\b(AccountKey|SharedAccessKey|SharedAccessSignature|Password|Pwd)\s?=|"
    r"^(gh[opsu]_|github_pat_|glpat-|xox[abprs]-|hf_|sk-|AKIA|eyJ[\w-]+\.)",
    re.IGNORECASE,
)
_NEEDED = frozenset({"PWD"})
_PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY"})
# What azure-identity reads, by which azureml-mlflow authenticates, and where it finds the clouds.
_TO_TRACK = frozenset(
    {
        *("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_USERNAME", "AZURE_PASSWORD"),
        *("AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"),
        *("AZURE_AUTHORITY_HOST", "AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_IDENTITY_DISABLE_MULTITENANTAUTH"),
        *("AZURE_FEDERATED_TOKEN_FILE", "AZURE_KUBERNETES_TOKEN_PROXY", "AZURE_KUBERNETES_SNI_NAME"),
        *("AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_CA_DATA", "AZURE_POD_IDENTITY_AUTHORITY_HOST"),
        *("AZURE_TOKEN_CREDENTIALS", "AZURE_CONFIG_DIR", "ARM_CLOUD_METADATA_URL", "IMDS_ENDPOINT"),
        *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "MSI_ENDPOINT", "MSI_SECRET"),
        *("MANAGED_IDENTITY_CLIENT_ID", "DEFAULT_IDENTITY_CLIENT_ID"),
    }
)


def passed_on(environment: Mapping[str, str], tracking: Where = "local") -> dict[str, str]:
    """What of an environment the steps get; ``tracking`` says where they log to MLflow."""
    asked = re.split(r"[\s,]+", environment.get(PASS, "").strip())
    return {
        name: value
        for name, value in environment.items()
        if any(fnmatchcase(name, pattern) for pattern in asked)
        or (tracking == "azureml" and name in _TO_TRACK)
        or not is_secret(name, value)
    }


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks as if nobody should see its value."""
    upper = name.upper()
    if upper in _NEEDED or upper in _PROXIES:
        return False
    if upper.startswith(_PREFIXES) or _CONNECTION.search(upper) or _SECRET_VALUE.search(value):
        return True
    return any(
        word in _WORDS or word.endswith(_ENDINGS) or any(part in word for part in _PARTS)
        for word in re.split("[^A-Z0-9]+", upper)
    )


def wanted(lines: Iterable[str], environment: Mapping[str, str], tracking: Where = "local") -> str:
    """How to pass on the withheld variables that the last lines of a step's log name; empty if they name none."""
    words = set(re.findall(r"\w+", "\n".join(lines)))
    names = sorted(words & (environment.keys() - passed_on(environment, tracking).keys()))
    if not names:
        return ""
    return f'Not passed on to steps: {", ".join(names)}. To pass on what they need: export {PASS}="{" ".join(names)}"'
