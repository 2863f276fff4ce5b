"""Ending a run of Ray Train from outside: its controller is killed, and nothing of it keeps resources.

In: an exchange for the controller's messages; later the controller. Out: the messages "controller" (bytes) and "state"
(its name); no worker, no placement group.

Ray removes a placement group once its creator and the creator's whole job are dead, so the groups of a stopped trial
would outlive it for as long as the search runs. Ray Train has an actor that removes them, but it does not know a group
whose workers are still being started; the trials after it would wait for that one's resources for ever.
"""

import time
from typing import Any

import ray
from ray import cloudpickle
from ray._private.state import state as global_state
from ray.core.generated import gcs_pb2 as _gcs_pb2
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup

from vgsr.training.exchange import Message

gcs_pb2: Any = _gcs_pb2  # generated at run time
RUNNING = "RUNNING"
DEATH_SECONDS = 10.0  # longest wait for a killed controller to be known as dead


class Introduction(ControllerCallback):
    """Tells the caller, from inside the controller, who controls its run and whether its workers run."""

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange

    def after_controller_start(self, train_run_context: Any) -> None:
        """Say who controls the run."""
        # As bytes: a handle would make the exchange's process load Ray Train to hold it.
        known = ray.get_runtime_context().current_actor, f"train-{train_run_context.run_id}"
        tell(self._exchange, "controller", cloudpickle.dumps(known))

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Say what the run does now; Ray calls this at every look at the workers too."""
        if type(previous_state) is not type(current_state):
            tell(self._exchange, "state", current_state._state_type.state_name)


def tell(exchange: Any, kind: str, content: Any = None) -> None:
    """Leave a message without waiting for it: the exchange may just be starting."""
    exchange.tell.remote(Message(kind, content))


def end(controller: bytes) -> None:
    """Kill a run's controller, and with it its workers, hung or stopped ones too; remove its placement groups, and what
    it asked the autoscaler for."""
    actor, requester = cloudpickle.loads(controller)
    ray.kill(actor)
    deadline = time.monotonic() + DEATH_SECONDS
    while _alive(actor._actor_id.binary()) and time.monotonic() < deadline:
        time.sleep(0.05)
    clear_orphans()
    _ask_no_more(requester)


def _ask_no_more(requester: str) -> None:
    # A killed controller cannot take its request for nodes back. It would stand for three minutes beside those of the
    # trials that follow, so that a cluster grows, or stays, larger than anybody needs.
    try:
        coordinator = ray.get_actor("AutoscalingCoordinator", namespace="AutoscalingCoordinator")
        ray.get(coordinator.cancel_request.remote(requester), timeout=DEATH_SECONDS)
    except (ValueError, ray.exceptions.RayError):  # nobody has asked for anything, or Ray itself is ending
        return


def clear_orphans() -> None:
    """Remove this job's placement groups whose creator, an actor, is dead."""
    job = ray.get_runtime_context().get_job_id()
    for raw in global_state._connect_and_get_accessor().get_placement_group_table():
        group = gcs_pb2.PlacementGroupTableData.FromString(raw)
        gone = group.state == gcs_pb2.PlacementGroupTableData.REMOVED
        ours = group.creator_job_id.hex() == job and not group.is_detached
        by_actor = bool(group.creator_actor_id) and not ray.ActorID(group.creator_actor_id).is_nil()
        if ours and by_actor and not gone and not _alive(group.creator_actor_id):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


def _alive(actor: bytes) -> bool:
    raw = global_state._connect_and_get_accessor().get_actor_info(ray.ActorID(actor))
    return raw is not None and gcs_pb2.ActorTableData.FromString(raw).state != gcs_pb2.ActorTableData.DEAD
