"""``python -m chaos.launcher ARMED COMMAND…``: the ``vermilion`` command, with the points of ``points``.

The service is built by the same code as ever; only what it takes for the Kafka broker is wrapped.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.points import PointedBroker, Points

if TYPE_CHECKING:
    from vermilion_pipeline.ports import Broker


def main() -> None:
    """Run the command."""
    import vermilion_pipeline.kafka
    import vermilion_pipeline.runtime
    from vermilion.main import main as command

    points = Points(Path(sys.argv.pop(1)))
    real = vermilion_pipeline.kafka.KafkaBroker

    def pointed(config: Mapping[str, str]) -> "Broker":
        return PointedBroker(real(config), points)

    vermilion_pipeline.kafka.KafkaBroker = pointed  # type: ignore[misc, assignment]
    vermilion_pipeline.runtime._SLICE_RECORDS = 40  # several in each of the rounds' small batches
    command()


if __name__ == "__main__":
    main()
