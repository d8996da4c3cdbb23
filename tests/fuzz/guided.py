"""One target under atheris: `python -m tests.fuzz.guided NAME CORPUS [OPTIONS]`; ends at a finding or in time.

Kept apart from everything else, as what is to be followed must be imported under the instrumentation.
"""

import logging
import sys
import traceback

import atheris
import structlog

with atheris.instrument_imports(include=["edge_node", "cloud_hub", "telemed", "aiortc.sdp", "tomllib"]):
    from tests.fuzz.listing import TARGETS


def main() -> None:
    """Run one target until libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    # What is said about each refused input would be most of the work.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target = TARGETS[name]
    target.warm_up()

    def watched(data: bytes) -> None:
        try:
            target.run(data)
        except BaseException:
            # libFuzzer keeps the input; what was raised belongs beside it.
            traceback.print_exc()
            raise

    atheris.Setup([sys.argv[0], *options], watched)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
