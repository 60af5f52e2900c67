"""How much processor time the start of the client's command takes, beside its floors.

    python -m benchmarks.client_start [ROUNDS]

Prints the median of each command in alternating rounds, and its ratio to `python -c pass`.
"""

import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

CLIENT = "from byline_client.cli.entry import main; main()"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "byline --version": ["-c", f"import sys; sys.argv = ['byline', '--version']; {CLIENT}"],
    "python -c 'import typer'": ["-c", "import typer"],
    "byline whoami --help": [
        "-c",
        f"import sys; sys.argv = ['byline', 'whoami', '--help']; {CLIENT}",
    ],
    "python -c 'import typer, httpx'": ["-c", "import typer, httpx"],
}


def main() -> None:
    """Measure, and print a line for each command."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    measured: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            measured[name].append(_processor_milliseconds(arguments))
    floor = median(measured["python -c pass"])
    for name, values in measured.items():
        print(f"{name:<34} {median(values):6.0f} ms  × {median(values) / floor:4.1f}")


def _processor_milliseconds(arguments: list[str]) -> float:
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = getrusage(RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    main()
