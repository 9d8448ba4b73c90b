"""A small MCP client: starts the server of a document's configuration example, and makes the document's calls.

Usage: mcp_client.py DOCUMENT ORDER

Prints one JSON object for each call. The calls are those of the document, word for word, with ORDER in place of 1001. Fails if
the server writes anything but the protocol on its standard output, or does not end when its input ends.
"""

import json
import re
import subprocess
import sys


class Client:
    def __init__(self, server):
        command = [server["command"], *server["args"]]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self.next_id = 0

    def write(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def request(self, method, params):
        self.next_id += 1
        self.write({"id": self.next_id, "method": method, "params": params})
        answer = json.loads(self.process.stdout.readline())
        assert answer["jsonrpc"] == "2.0" and answer["id"] == self.next_id, answer
        return answer["result"]

    def close(self):
        self.process.stdin.close()
        rest = self.process.stdout.read()
        assert rest == "", rest
        return self.process.wait(timeout=60)


def main(document, order):
    with open(document, encoding="utf-8") as file:
        blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", file.read(), re.DOTALL)]
    client = Client(blocks[0]["mcpServers"]["recoup"])
    version = "2025-06-18"
    info = {"name": "example", "version": "1"}
    started = client.request("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": info})
    assert started["protocolVersion"] == version and started["serverInfo"]["name"] == "recoup", started
    client.write({"method": "notifications/initialized"})

    tools = {tool["name"]: tool for tool in client.request("tools/list", {})["tools"]}
    calls = blocks[1:]
    assert {call["name"] for call in calls} == set(tools), "the document has a call of every tool"
    for call in calls:
        schema = tools[call["name"]]["inputSchema"]
        assert set(schema["required"]) <= set(call["arguments"]) <= set(schema["properties"]), call
        call["arguments"]["order_id"] = call["arguments"]["order_id"].replace("1001", order)
        result = client.request("tools/call", call)
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"], result
        print(json.dumps({"name": call["name"], "isError": result["isError"], **result["structuredContent"]}))
    sys.exit(client.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
