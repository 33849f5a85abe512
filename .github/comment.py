"""Write a Markdown file into the one comment that a workflow keeps on a pull request.

The comment is found by a mark in its first line and by its author, and updated; where there is none, it is made. The
environment says where: GITHUB_API_URL, GITHUB_REPOSITORY, PULL_REQUEST (its number) and GITHUB_TOKEN.
"""

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

AUTHOR = "github-actions[bot]"  # whom GITHUB_TOKEN is for
MARK = "<!-- tandem plan -->"
A_PAGE = 100  # comments, the most that GitHub gives
TIMEOUT_SECONDS = 30


def main(file: str) -> None:
    """Update the comment, or make it."""
    repository = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    comments = f"{repository}/{os.environ['PULL_REQUEST']}/comments"
    body = {"body": f"{MARK}\n{Path(file).read_text(encoding='utf-8')}"}
    own = next((comment["id"] for comment in _comments(comments) if _is_ours(comment)), None)
    answer = _ask("POST", comments, body) if own is None else _ask("PATCH", f"{repository}/comments/{own}", body)
    print(answer["html_url"])


def _comments(address: str) -> Iterator[dict[str, Any]]:
    for page in count(1):
        found = _ask("GET", f"{address}?per_page={A_PAGE}&page={page}")
        yield from found
        if len(found) < A_PAGE:
            return


def _is_ours(comment: dict[str, Any]) -> bool:
    return (comment.get("user") or {}).get("login") == AUTHOR and (comment["body"] or "").startswith(MARK)


def _ask(method: str, address: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(sys.argv[1])
