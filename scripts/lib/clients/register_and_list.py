"""Registers events with the generated Python client, and finds them again.

Usage: TOKEN=… register_and_list.py URL; the generated package conn_log_client is on the path.
"""

import datetime
import os
import sys

from conn_log_client import AuthenticatedClient
from conn_log_client.api.events import (
    event_get,
    event_list,
    event_register,
    event_register_batch,
    event_statistics,
)
from conn_log_client.api.tokens import token_create, token_list, token_revoke
from conn_log_client.models import (
    BatchProblem,
    BatchResults,
    Event,
    EventConnectionType,
    EventListMetadata,
    EventListOrder,
    EventMetadataType0,
    EventPage,
    EventRecord,
    EventStatisticsGroupByItem,
    EventStatisticsInterval,
    EventStatus,
    GrantedScopeName,
    MadeToken,
    NewToken,
    Problem,
    Statistics,
    TokenPage,
)


def of_type(expected, answer):
    assert isinstance(answer, expected), f"expected {expected.__name__}, got {answer!r}"
    return answer


def event(device_id: str, **fields) -> Event:
    return Event(
        device_id=device_id,
        application_id="app",
        connection_type=EventConnectionType.ESTABLISHED,
        status=EventStatus.SUCCESS,
        timestamp=datetime.datetime(2024, 1, 15, 10, 30, tzinfo=datetime.timezone.utc),
        **fields,
    )


def register(client: AuthenticatedClient) -> None:
    metadata = EventMetadataType0()
    metadata["zone"] = "eu"
    first = event("dev 1", ip_address="192.0.2.1", metadata=metadata, event_id="one")
    record = of_type(EventRecord, event_register.sync(client=client, body=first))
    assert (record.id, record.device_id, record.ip_address) == (1, "dev 1", "192.0.2.1"), record
    assert record.timestamp == first.timestamp and record.metadata["zone"] == "eu", record

    again = event_register.sync_detailed(client=client, body=first)
    assert again.status_code == 200 and again.parsed == record, again
    other = of_type(Problem, event_register.sync(client=client, body=event("dev 2", event_id="one")))
    assert (other.status, other.id) == (409, 1), other

    batch = [event("dev 2"), event("dev 3", duration=-1.0)]
    results = of_type(BatchResults, event_register_batch.sync(client=client, body=batch))
    assert (results.accepted, results.rejected) == (1, 1), results
    assert results.results[1].problem.errors[0].pointer == "/duration", results
    refused = of_type(BatchProblem, event_register_batch.sync(client=client, body=batch[1:]))
    assert (refused.status, refused.accepted, refused.rejected) == (422, 0, 1), refused


def read(client: AuthenticatedClient) -> None:
    page = of_type(EventPage, event_list.sync(client=client, order=EventListOrder.ID, limit=1))
    assert [record.id for record in page.results] == [1] and page.next_ is not None, page
    zone = EventListMetadata()
    zone["metadata.zone"] = "eu"
    page = of_type(EventPage, event_list.sync(client=client, metadata=zone))
    assert [record.id for record in page.results] == [1] and page.next_ is None, page
    page = of_type(EventPage, event_list.sync(client=client, device_id=["dev 2", "dev 3"]))
    assert [record.device_id for record in page.results] == ["dev 2"], page
    assert of_type(EventRecord, event_get.sync(client=client, id="2")).device_id == "dev 2"
    assert of_type(Problem, event_get.sync(client=client, id="99")).status == 404
    statistics = of_type(
        Statistics,
        event_statistics.sync(
            client=client,
            interval=EventStatisticsInterval.VALUE_3,
            group_by=[EventStatisticsGroupByItem.DEVICE_ID],
        ),
    )
    assert [group.events for group in statistics.results] == [1, 1], statistics


def manage_tokens(client: AuthenticatedClient) -> None:
    new = NewToken(name="gate 7", scopes=[GrantedScopeName.WRITE])
    made = of_type(MadeToken, token_create.sync(client=client, body=new))
    assert made.secret.startswith("clog_"), made.id
    page = of_type(TokenPage, token_list.sync(client=client))
    assert made.id in [token.id for token in page.results], page
    assert token_revoke.sync_detailed(client=client, id=made.id).status_code == 204


def main() -> None:
    url, token = sys.argv[1], os.environ["TOKEN"]
    client = AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True)
    register(client)
    read(client)
    manage_tokens(client)
    stranger = AuthenticatedClient(base_url=url, token="clog_none")
    assert of_type(Problem, event_list.sync(client=stranger)).status == 401


main()
