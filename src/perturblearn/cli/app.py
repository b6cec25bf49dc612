"""The application that commands belong to."""

from __future__ import annotations

from cyclopts import App


def _version() -> str:
    import perturblearn

    return perturblearn.__version__


app = App(
    name="perturblearn",
    help="Train classifiers on nothing but adversarial perturbations with wrong labels, and see what they learn.",
    version=_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command(help="Install completion of commands and options for your shell.")
