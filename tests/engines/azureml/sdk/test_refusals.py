"""What a chain of credentials says is told in a line: who was refused, or that nobody is signed in."""

import pytest
from azure.core.exceptions import ClientAuthenticationError

from flows.engines.azureml.sdk.refusals import SIGN_IN, no_credential, said_by_each, stopped_by

SCOPE = "https://management.azure.com/.default"
VARIABLES = ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("azure_client_allowed")]


def refusal(monkeypatch: pytest.MonkeyPatch, chain: str) -> tuple[str, int]:
    """What azure-identity itself says where nothing is set up, and how many credentials it has tried."""
    from azure.identity import DefaultAzureCredential

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", chain)
    monkeypatch.setenv("PATH", "/nowhere")
    with DefaultAzureCredential() as credential, pytest.raises(ClientAuthenticationError) as raised:
        credential.get_token(SCOPE)
    return str(raised.value.message), len(credential.credentials)


def test_where_nobody_is_signed_in_one_line_says_so_and_one_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    message, count = refusal(monkeypatch, "dev")
    assert len(message) > 600 and count > 3
    told = f"No credential was accepted: none of the {count} ways to sign in that were tried is set up here"
    assert no_credential(message, count) == f"{told}\n{SIGN_IN}"


def test_the_one_credential_that_was_chosen_says_why_it_has_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    message, count = refusal(monkeypatch, "AzureCliCredential")
    assert no_credential(message, count).startswith(
        "No credential was accepted: AzureCliCredential: Azure CLI not found"
    )


def test_the_credential_that_is_set_up_and_was_refused_is_the_only_one_that_is_told() -> None:
    message = (
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
        "\tEnvironmentCredential: EnvironmentCredential authentication unavailable. Visit a page.\n"
        "\tWorkloadIdentityCredential: AADSTS700213: No matching federated\n identity record found.\n"
        "To mitigate this issue, please refer to the troubleshooting guidelines here."
    )
    assert stopped_by(said_by_each(message), 9) == "WorkloadIdentityCredential"
    why = "WorkloadIdentityCredential: AADSTS700213: No matching federated identity record found."
    assert no_credential(message, 9) == f"No credential was accepted: {why}\n{SIGN_IN}"


def test_what_is_no_list_of_credentials_is_told_as_it_is() -> None:
    assert no_credential("the clock\n  is wrong", 9) == f"No credential was accepted: the clock is wrong\n{SIGN_IN}"
