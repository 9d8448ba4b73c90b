"""A webhook for a shop's refunds, each of which becomes a proposed retraction. Needs Python 3.9 or later and nothing else.

    RECOUP_URL=http://127.0.0.1:8080 RECOUP_TOKEN=rcp_... SHOP_SECRET=... python3 refund_webhook.py 127.0.0.1:8090

This program can only propose: a person approves each retraction at recoup's page, under Approvals, and nothing is sent before that.
Therefore make a user and a token of its own, with one scope (another user must approve):

    recoup user add shop --role agent
    recoup user token add shop --name refunds --scope propose

The shop sends POST requests like this one, with the hexadecimal HMAC-SHA256 of the body in the header X-Shop-Signature:

    {"refund_id": "R-17", "order_id": "1001", "refunded_in_full": true}

Shops differ: change `is_signed` and `refund_of` for yours. Listen on this machine only, behind a proxy with TLS.
"""

import hashlib
import hmac
import http.server
import json
import os
import pathlib
import sys
import urllib.error

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
from recoup import Problem, Recoup  # noqa: E402

# The largest body that is read, in bytes.
LARGEST_BODY = 100_000


def is_signed(headers, body, secret):
    """Whether the shop signed this body. Anyone may send a request, so nothing in it counts before this is true."""
    wanted = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), headers.get("X-Shop-Signature", "").encode("utf-8", "replace"))


def refund_of(body):
    """The refund's ID, the order's ID as text, and whether the whole order was refunded. Raises ValueError for anything else."""
    event = json.loads(body)
    if not isinstance(event, dict):
        raise ValueError("the body is no object")
    refund, order, in_full = (event.get(name) for name in ("refund_id", "order_id", "refunded_in_full"))
    if not (isinstance(refund, str) and refund and isinstance(order, str) and order and isinstance(in_full, bool)):
        raise ValueError("refund_id, order_id or refunded_in_full is missing or of another type")
    return refund, order, in_full


class Webhook(http.server.BaseHTTPRequestHandler):
    recoup = None
    secret = b""

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= LARGEST_BODY:
            return self.answer(413, "the body is too large, or its length is missing")
        body = self.rfile.read(length)
        if not is_signed(self.headers, body, self.secret):
            return self.answer(401, "the signature is missing or wrong")
        try:
            refund, order, in_full = refund_of(body)
        except ValueError as error:
            return self.answer(400, f"not a refund: {error}")
        if not in_full:
            # What was refunded in part is for a person: `recoup adjust`.
            return self.answer(200, f"order {order} was not refunded in full, so nothing was proposed")
        try:
            # The refund's ID is the key. The shop may send the same event again: it stays one proposal.
            proposal = self.recoup.propose(
                "refund-" + hashlib.sha256(refund.encode()).hexdigest(),
                order_id=order,
                reason="the shop refunded the whole order",
                ticket=refund,
            )
        except Problem as problem:
            if problem.status == 429 or problem.status >= 500:
                return self.answer(503, f"order {order}: try again later ({problem.kind})")
            # For example, the order is no referral, or it has two actions. Another attempt would end in the same way.
            return self.answer(200, f"order {order}: nothing was proposed ({problem.kind}): {problem}")
        except (urllib.error.URLError, OSError):
            return self.answer(503, f"order {order}: recoup does not answer, try again later")
        approval = proposal["approval"]
        if approval is None:
            return self.answer(200, f"order {order}: nothing is left to take back")
        return self.answer(200, f"order {order}: approval {approval['id']} waits for a person")

    def answer(self, status, text):
        """Answers the shop, which sends the event again after a 503, and writes the text into the log."""
        print(status, text, flush=True)
        data = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """`answer` writes the log."""


def main(address):
    Webhook.recoup = Recoup(os.environ["RECOUP_URL"], os.environ["RECOUP_TOKEN"])
    Webhook.secret = os.environ["SHOP_SECRET"].encode()
    if not Webhook.secret:
        sys.exit("SHOP_SECRET is empty, so every signature would be valid")
    host, _, port = address.rpartition(":")
    server = http.server.ThreadingHTTPServer((host, int(port)), Webhook)
    print(f"listening on http://{host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
