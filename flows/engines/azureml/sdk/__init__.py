"""An Azure ML workspace through the unmodified SDK, which nothing else imports. Answers are values of ours."""
