"""Trains, measures and exports the models: `python -m models train cmb --preset hard --arm ffm-hspl --seed 0`."""

import argparse
from collections.abc import Sequence

from models.tasks.cmb import command as cmb
from models.tasks.cmb import region_command as cmb_regions
from models.tasks.verbs import Verbs

TASKS: dict[str, Verbs] = {"cmb": cmb.VERBS, "cmb-regions": cmb_regions.VERBS}


def parser() -> argparse.ArgumentParser:
    """Return the command line: a verb, then a task that knows it, then the task's options."""
    found = argparse.ArgumentParser(prog="python -m models", description="Trains, measures and exports the models.")
    by_verb = found.add_subparsers(required=True, metavar="VERB")
    for verb in sorted({name for verbs in TASKS.values() for name in verbs}):
        by_task = by_verb.add_parser(verb).add_subparsers(required=True, metavar="TASK")
        for task, verbs in TASKS.items():
            if verb in verbs:
                options = by_task.add_parser(task, help=verbs[verb].says, description=verbs[verb].says)
                verbs[verb].describe(options)
                options.set_defaults(run=verbs[verb].run)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    options = parser().parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
