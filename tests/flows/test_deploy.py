"""What a server of many flows is asked."""

from __future__ import annotations

from uuid import uuid4

from flows.deploy import _deployments
from flows.local import TAG


def test_our_deployments_are_named_on_a_server_of_many_flows(prefect_server: None) -> None:
    """The server lists 200 flows at a time, by name: ours stands behind them."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for number in range(205):
            client.create_flow_from_name(f"a flow of somebody else {number:03d}")
        flow_id = client.create_flow_from_name(f"zz-{uuid4()}")
        name = client.read_flow(flow_id).name
        deployment = client.create_deployment(flow_id=flow_id, name="nightly", tags=[TAG])
        try:
            assert f"{name}/nightly" in _deployments(client)
        finally:
            client.delete_deployment(deployment)
