"""What a person is told of each error that was recorded, and whether it may be tried again."""

import pytest

from flows.engines.azureml.error_answers import read_error
from flows.engines.azureml.sdk.tracking import find_tracking
from flows.engines.local.host.processes import tracking_environment
from flows.errors import ServiceError, SettingsError, TandemError, UserError
from flows.settings import Settings
from tests.azure_ml_service.messages import Answer
from tests.engines.azureml.recorded.answers import details_of, nothing, page, refusal, told
from tests.engines.azureml.recorded.conftest import InWorkspace
from tests.engines.azureml.recorded.player import Player
from tests.engines.conftest import Await

pytestmark = pytest.mark.filterwarnings("ignore")  # of the SDK, which has many

FLAGS = " -w lab"
IN_LAB = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/lab"
SENTENCES: dict[str, tuple[Answer, str, str]] = {
    "component version, PUT of a job": (
        refusal(
            404, f"key: {IN_LAB}/components/fit/versions/9, Message: Not found component fit (version: 9).", "NotFound"
        ),
        "",
        "The component fit:9 was not found in the workspace. "
        "See which there are: `az ml component list --name fit -w lab`.",
    ),
    "component": (
        refusal(404, "Not found component fit.", "UserError", "NotFound", "ComponentNotFound"),
        "/components/fit",
        "The component fit was not found in the workspace. "
        "See which there are: `az ml component list --name fit -w lab`.",
    ),
    "environment": (
        refusal(404, "No environment exists for name: lab, version: , label: ", "UserError", "NotFoundError"),
        "/environments/lab",
        "The environment lab was not found in the workspace. "
        "See which there are: `az ml environment list --name lab -w lab`.",
    ),
    "version of a model, told in the details": (
        details_of(
            refusal(404, "The specified resource was not found.", "UserError"),
            ("NoSuchModelRegistered", "There is no registered model in Workspace: lab with id fit:7"),
        ),
        "",
        "The model fit:7 was not found in the workspace. See which there are: `az ml model list --name fit -w lab`.",
    ),
    "model, told in the details": (
        details_of(
            refusal(404, "The specified resource was not found.", "UserError"),
            ("ModelNotFound", "Model container with name: fit not found."),
        ),
        "",
        "The model fit was not found in the workspace. See which there are: `az ml model list --name fit -w lab`.",
    ),
    "datastore": (
        refusal(404, "Could not find it.", "UserError", "NotFoundError"),
        "/datastores/raw",
        "The datastore raw was not found in the workspace. See which there are: `az ml datastore list -w lab`.",
    ),
    "schedule": (
        refusal(404, "Could not find it.", "UserError", "NotFound"),
        "/schedules/nightly",
        "The schedule nightly was not found in the workspace. See which there are: `az ml schedule list -w lab`.",
    ),
    "compute target, without a body": (
        nothing(404),
        "/computes/gpu",
        "The compute target gpu was not found in the workspace. "
        "`tandem compute create gpu` makes it; or choose another one.",
    ),
    "code of a component": (
        refusal(
            400,
            'Failed to update component fit since field "code" is immutable, try specifying a new version.',
            "UserError",
            "BadArgument",
            "ArgumentInvalid",
            "UpdateComponentFailed",
        ),
        "",
        'Failed to update component fit since field "code" is immutable, try specifying a new version '
        "(UpdateComponentFailed). Write another version in its file, or leave it as it is registered.",
    ),
    "member that the version of the API does not know": (
        details_of(
            refusal(400, "Request is invalid.", "UserError", "RequestInvalid"),
            ("RequestInvalid", "Could not find member 'assetVersion' on object of type 'UriFolderJobOutput'."),
            ("RequestInvalid", "Could not find member 'assetVersion' on object of type 'UriFolderJobOutput'."),
        ),
        "",
        "Request is invalid; Could not find member 'assetVersion' on object of type 'UriFolderJobOutput' "
        "(RequestInvalid).",
    ),
    "model, in the details": (
        details_of(refusal(404, "It was not found.", "UserError"), ("ModelNotFound", "There is no model fit.")),
        "/models/fit/versions",
        "The model fit was not found in the workspace. See which there are: `az ml model list --name fit -w lab`.",
    ),
    "cancel of a job that is over": (
        refusal(400, "It is over.", "UserError", "BadArgument", "ArgumentInvalid", "CancelPipelineRunInTerminalStatus"),
        "/jobs/lab-job/cancel",
        "It is over (CancelPipelineRunInTerminalStatus).",
    ),
    "argument": (
        refusal(400, "The value is out of range.", "UserError", "BadArgument", "ArgumentInvalid"),
        "",
        "The value is out of range (ArgumentInvalid).",
    ),
    "job, child or run": (nothing(404), "/runs/lab-job/children", "The job lab-job was not found in the workspace."),
    "blob": (
        Answer(404, b"", {"x-ms-error-code": "BlobNotFound"}),
        "https://lab.blob.core.windows.net/code/data/rows.csv",
        "no reason was given (HTTP 404).",
    ),
    "workspace": (
        refusal(
            404,
            "The Resource 'Microsoft.MachineLearningServices/workspaces/lab' under resource group 'g' was not found.",
            "ResourceNotFound",
        ),
        "/jobs/lab-job",
        "The workspace lab was not found. See the three variables that name the workspace (AZUREML_ARM_…): "
        "`tandem doctor` looks at each.",
    ),
    "page of a gateway": (
        page(502, "Bad &amp; broken gateway"),
        "/jobs/lab-job",
        "Not Azure ML but something on the way to it answered 502 with a page “Bad & broken gateway”. Look at what "
        "stands between: a proxy, a firewall or a gateway.",
    ),
    "text": (Answer(400, b"upstream\nsaid no.\n", {"Content-Type": "text/plain"}), "", "upstream said no."),
    "JSON text": (told("said no", 400), "", "said no."),
    "error that is a text": (told({"error": "said no"}, 400), "", "said no."),
    "no body": (nothing(400), "", "no reason was given (HTTP 400)."),
    "JSON in a message, details, further information null": (
        told(
            {
                "error": {
                    "code": "BadRequest",
                    "message": '{"error": {"code": "QuotaExceeded", "message": "No cores are left."}}',
                    "details": [{"code": "Limit", "message": "Ask for more."}],
                    "additionalInfo": None,
                }
            },
            400,
        ),
        "",
        "No cores are left; Ask for more (QuotaExceeded).",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_recorded_error_is_told_in_one_sentence_with_the_name_and_what_to_do(case: str) -> None:
    answer, asked, sentence = SENTENCES[case]
    url = asked if asked.startswith("https:") else f"https://management.azure.com{IN_LAB}{asked}" if asked else ""
    kind = {name.lower(): value for name, value in answer.headers.items()}.get("content-type", "")
    assert str(read_error(answer.status, answer.body.decode(), url, kind).told(FLAGS)) == sentence


CLASSES: dict[str, tuple[Answer, type[TandemError], str]] = {
    "refused": (refusal(400, "Out of range.", "UserError", "ArgumentInvalid"), UserError, "refused: Out of range"),
    "refused, without a body": (nothing(400), UserError, r"no reason was given \(HTTP 400\)"),
    "refused, in text": (Answer(400, b"said no", {"content-type": "text/plain"}), UserError, "refused: said no"),
    "refused, and nothing further": (
        told({"error": {"code": "UserError", "message": "Out of range.", "additionalInfo": None}}, 400),
        UserError,
        "refused: Out of range",
    ),
    "not permitted": (
        refusal(403, "No.", "AuthorizationFailed"),
        SettingsError,
        r"may not do this.*AuthorizationFailed",
    ),
    "not permitted, by a page": (page(403, "Blocked"), SettingsError, "something on the way.*“Blocked”.*proxy"),
    "throttled": (
        told({"error": {"code": "TooManyRequests", "message": "Slow down."}}, 429),
        ServiceError,
        "answered 429: Slow down",
    ),
    "busy, without a body": (nothing(503), ServiceError, r"answered 503: no reason was given"),
    "busy, by a page": (page(503, "Busy"), ServiceError, "something on the way.*503.*“Busy”"),
    "page where there was none": (page(404, "Not here"), ServiceError, "something on the way.*404.*“Not here”"),
    "page in place of an answer": (page(200, "Sign in"), ServiceError, "something on the way.*200.*“Sign in”"),
    "half an answer": (Answer(200, b'{"id": "x', {"Content-Type": "application/json"}), ServiceError, "cannot be read"),
}


@pytest.mark.parametrize("call", ["a job", "its children"])
@pytest.mark.parametrize("case", CLASSES)
def test_error_is_the_users_or_passing_or_one_of_the_settings_and_never_shows_json(
    case: str, call: str, player: Player, in_workspace: InWorkspace
) -> None:
    answer, kind, sentence = CLASSES[case]
    player.play("GET", "/jobs/lab-job", answer)
    player.play("GET", "/runs/lab-job/children", answer)

    with pytest.raises(TandemError, match=sentence) as raised:
        in_workspace(lambda workspace: (workspace.jobs.find if call == "a job" else workspace.jobs.children)("lab-job"))

    assert isinstance(raised.value, kind)
    assert not {"{", "}", "<", "managementfrontend"} & set(str(raised.value).split())
    assert "managementfrontend" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"null", b"<html></html>"], ids=["empty", "null", "a page"])
def test_only_an_answer_of_azure_ml_says_that_a_job_is_not_there(
    body: bytes, player: Player, in_workspace: InWorkspace
) -> None:
    kind = {"Content-Type": "text/html"} if b"html" in body else {}
    player.play("GET", "/jobs/lab-job", Answer(404, body, kind))
    if kind:
        with pytest.raises(ServiceError):
            in_workspace(lambda workspace: workspace.jobs.find("lab-job"))
    else:
        assert in_workspace(lambda workspace: workspace.jobs.find("lab-job")) is None


@pytest.mark.parametrize("status", [200, 404])
def test_page_in_place_of_the_workspace_that_tracks_is_told_as_one(status: int, player: Player, run: Await) -> None:
    settings = Settings.from_environment()
    player.play("GET", "", page(status, "Sign in"))
    with pytest.raises(ServiceError, match=f"something on the way.*{status}.*“Sign in”.*Nothing was run"):
        run(find_tracking(settings.workspace, tracking_environment(settings)))


def test_headers_are_read_in_whichever_case_they_come(player: Player, in_workspace: InWorkspace) -> None:
    from flows.engines.azureml.sdk.retries import retry_after

    busy = Answer(429, b"", {"RETRY-AFTER": "7", "X-MS-RateLimit-Remaining-Subscription-Reads": "0"})
    player.play("GET", "/jobs/lab-job", busy)
    with pytest.raises(ServiceError) as raised:
        in_workspace(lambda workspace: workspace.jobs.find("lab-job"))
    assert retry_after(raised.value) == 7.0
