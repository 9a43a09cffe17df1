"""Sends CloudEvents as the project's own SDK for Python does, binary and structured, with data as an object and as bytes."""

import sys
import urllib.request
from datetime import UTC, datetime

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

url = sys.argv[1] + "/v1/events"
for encode in (to_binary_event, to_structured_event):
    for kind, data in (
        ("object", {"action": "visit", "shopper": "py"}),
        ("bytes", b'{"action":"visit","shopper":"py"}'),
    ):
        event = CloudEvent(
            {
                "id": f"py {encode.__name__} {kind} é",
                "source": "/sdk/python",
                "type": "app.visit",
                "time": datetime(2026, 11, 10, 12, tzinfo=UTC),
                "datacontenttype": "application/json",
                "specversion": "1.0",
            },
            data,
        )
        message = encode(event)
        request = urllib.request.Request(url, data=message.body, headers=message.headers, method="POST")
        with urllib.request.urlopen(request) as answer:
            print(answer.status, answer.read().decode())
