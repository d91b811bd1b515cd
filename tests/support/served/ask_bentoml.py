"""BentoML's own client, in BentoML's environment. Arguments: the URL, how often, the rows. Prints the answers."""

import json
import sys

import bentoml

url, count, rows = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
with bentoml.SyncHTTPClient(url, server_ready_timeout=20) as client:
    said = [client.predict(rows=rows) for _ in range(count)]
    print(json.dumps({"answers": said, "parts": list(client.parts(count=2))}))  # noqa: T201 - what it is for
