"""The node's consults as `app` joins them: router and host in one, made from the configuration."""

import asyncio
import time

from edge_node.config import EdgeConfig
from edge_node.consult.host import ConsultHost, settings_from
from edge_node.consult.pipe import Step
from edge_node.consult.router import ConsultRouter, Outlets

EXPIRE_EVERY_S = 5.0


class ConsultDesk:
    """`router` takes signals of hub and pages; `host` takes vitals; `run` keeps both going."""

    def __init__(self, config: EdgeConfig, outlets: Outlets) -> None:
        self.host = ConsultHost(settings_from(config), self._from_camera)
        self.router = ConsultRouter(config.node.site, config.consult.auto_answer, self.host, outlets)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.host.run())
            while True:
                await asyncio.sleep(EXPIRE_EVERY_S)
                self.router.expire(time.monotonic())

    def _from_camera(self, step: Step) -> None:
        self.router.from_camera(step)
