"""A client of the recoup API, version 1. Needs Python 3.9 or later and nothing else.

    RECOUP_URL=http://127.0.0.1:8080 RECOUP_TOKEN=rcp_... python3 recoup.py ORDER_ID REASON [TICKET]

It retracts one order: it checks the order, sends the retraction once, and waits until the outcome is proven. It ends with 0 if the
retraction is confirmed, with 5 if nothing was sent, and with 7 if the outcome is not proven yet.
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# A retraction in one of these states is not decided yet.
OPEN = ("planned", "sending", "queued", "unknown", "unconfirmed")


class Problem(Exception):
    """An error of the API (RFC 9457). `kind` is for programs, `detail` and `hint` are for people."""

    def __init__(self, body):
        super().__init__(body["detail"])
        self.kind, self.status, self.body = body["kind"], body["status"], body


class Recoup:
    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token

    def look_up(self, order_id):
        return self._get("/api/v1/lookup", order_id=order_id)

    def preflight(self, order_id, **choice):
        """Checks an order live and sends nothing. `choice` is `action_id=...` or `all="true"`."""
        return self._get("/api/v1/preflight", order_id=order_id, **choice)

    def retract(self, key, **request):
        """Retracts an order. Repeating the call with the same key never retracts twice."""
        return self._request("POST", "/api/v1/retractions", request, {"Idempotency-Key": key})[0]

    def propose(self, key, **request):
        """Asks another person to approve a retraction, and sends nothing. `approval` is None if nothing is left to send."""
        return self._request("POST", "/api/v1/approvals", request, {"Idempotency-Key": key})[0]

    def retractions(self, **filters):
        """Every matching retraction, oldest first, over all pages."""
        path = "/api/v1/retractions?" + urllib.parse.urlencode(filters, doseq=True)
        while path:
            page, headers = self._request("GET", path)
            yield from page
            link = re.match(r'<([^>]+)>; rel="next"', headers.get("Link", ""))
            path = link.group(1) if link else None

    def wait(self, order_id, seconds=60):
        """Reads the retractions of an order until each is decided, or the time is up."""
        until = time.monotonic() + seconds
        while True:
            found = list(self.retractions(order_id=order_id))
            if time.monotonic() > until or not any(one["state"] in OPEN for one in found):
                return found
            time.sleep(1)

    def _get(self, path, **query):
        return self._request("GET", path + "?" + urllib.parse.urlencode(query))[0]

    def _request(self, method, path, body=None, headers=None):
        headers = {"Authorization": "Bearer " + self.token, **(headers or {})}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        for attempt in range(5):
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=130) as response:
                    return json.load(response), response.headers
            except urllib.error.HTTPError as error:
                problem, wait = Problem(json.load(error)), error.headers.get("Retry-After")
                # A request with its key, and every GET, can be repeated as it is. A long wait is for the caller to decide.
                if attempt == 4 or wait is None or int(wait) > 30:
                    raise problem from None
                time.sleep(int(wait))


def main(order_id, reason, ticket=None):
    recoup = Recoup(os.environ["RECOUP_URL"], os.environ["RECOUP_TOKEN"])
    print("look-up:", recoup.look_up(order_id)["verdict"])
    try:
        checked = recoup.preflight(order_id)
        print("preflight:", ", ".join(one["state"] for one in checked["retractions"]))
        if any(one["state"] == "would_send" for one in checked["retractions"]):
            # With `plan`, the service sends exactly what the preflight has shown, or nothing.
            recoup.retract(
                f"{ticket or 'example'}-{order_id}", order_id=order_id, reason=reason, ticket=ticket, plan=checked["plan"]
            )
    except Problem as problem:
        print(f"not sent ({problem.kind}): {problem}")
        for fact in ("action_ids", "overrides", "missing_scope", "approval_id", "hint"):
            if problem.body.get(fact):
                print(f"  {fact}: {problem.body[fact]}")
        return 5
    found = recoup.wait(order_id)
    for one in found:
        print(f"retraction {one['id']}: {one['state']}")
    return 0 if found and all(one["state"] == "confirmed" for one in found) else 7


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:4]))
