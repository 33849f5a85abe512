"""The program ``tandem``. Ctrl+C is taken care of before anything else is imported."""

from flows.cli.terminal import interrupts

interrupts.handle_interrupts()

from flows.cli.main import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
