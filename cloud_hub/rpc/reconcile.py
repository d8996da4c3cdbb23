"""The calls of the comparison as gRPC sees them; the work is done beside."""

from telemed.v1 import reconcile_pb2, reconcile_pb2_grpc

from cloud_hub.rpc.comparing import Reconciling
from cloud_hub.rpc.judging import Context, Judge
from cloud_hub.store.reconciliations import Reconciliation


class ReconcileServicer(reconcile_pb2_grpc.ReconcileServicer):
    """Comparison of records; every call begins by finding out who makes it."""

    def __init__(self, reconciling: Reconciling, judge: Judge) -> None:
        self._reconciling = reconciling
        self._judge = judge

    async def Begin(  # noqa: N802 - the name of the contract
        self, request: reconcile_pb2.ReconcileBegin, context: Context
    ) -> reconcile_pb2.ReconcileBegun:
        """Open a run."""
        async with self._judge.judged(context) as call:
            await self._reconciling.begin(call.address, request)
        return reconcile_pb2.ReconcileBegun()

    async def Compare(  # noqa: N802
        self, request: reconcile_pb2.CompareRequest, context: Context
    ) -> reconcile_pb2.CompareAnswer:
        """Compare blocks."""
        answer = reconcile_pb2.CompareAnswer()
        async with self._judge.judged(context) as call:
            answer.differing.extend(await self._reconciling.compare(call.address, request))
        return answer

    async def Settle(  # noqa: N802
        self, request: reconcile_pb2.SettleRequest, context: Context
    ) -> reconcile_pb2.SettleAnswer:
        """Look at a block record by record."""
        answer = reconcile_pb2.SettleAnswer()
        async with self._judge.judged(context) as call:
            answer.reopened, found = await self._reconciling.settle(call.address, request)
            answer.differing.extend(found.differing)
        return answer

    async def Quarantine(  # noqa: N802
        self, request: reconcile_pb2.QuarantineRequest, context: Context
    ) -> reconcile_pb2.QuarantineAnswer:
        """Keep the node's version of what differs."""
        async with self._judge.judged(context) as call:
            await self._reconciling.quarantine(call.address, request)
        return reconcile_pb2.QuarantineAnswer()

    async def Finish(  # noqa: N802
        self, request: reconcile_pb2.FinishRequest, context: Context
    ) -> reconcile_pb2.ReconcileReport:
        """Tell how far the healing is."""
        answer = reconcile_pb2.ReconcileReport()
        async with self._judge.judged(context) as call:
            answer.CopyFrom(_report(await self._reconciling.finish(call.address, request)))
        return answer


def _report(run: Reconciliation) -> reconcile_pb2.ReconcileReport:
    return reconcile_pb2.ReconcileReport(
        streams=run.tally.streams,
        compared=run.tally.compared,
        healed=run.healed,
        open=run.open,
        lost=run.tally.lost,
        conflicts=run.tally.conflicts,
        damaged=run.tally.damaged,
    )
