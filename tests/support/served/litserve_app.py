"""A language model without weights, served by LitServe in the OpenAI API's shape; run by an environment that has it.

It says whether a text is about a late flight. What else it does, the last message says: `slowly` (a pause after each
token), `twice` words, `breaks` in mid-answer, `calls` a tool.
"""

import json
import sys
import time
import uuid

import litserve
from fastapi import HTTPException

PAUSE_SECONDS = 0.15


class Sayer(litserve.LitAPI):
    """Answers token by token.

    Args:
        late: what it says of late flights; of others it says "on time". "breaks": every answer breaks off.
        wrong: so many answers of a hundred are the other one.
    """

    def __init__(self, late: str, wrong: int) -> None:
        super().__init__(spec=litserve.OpenAISpec())
        self.late = late
        self.wrong = wrong
        self.asked = 0

    def setup(self, device):
        pass

    def predict(self, request):
        said = request.messages[-1].content
        right = self.asked % 100 >= self.wrong
        self.asked += 1
        answer = self.late if ("late" in said) is right else "on time"
        tokens = [f"{word} " for word in answer.split()] * (2 if "twice" in said else 1)
        for position, token in enumerate(tokens, 1):
            message = {"role": "assistant", "content": token}
            if "calls" in said:
                arguments = {"name": "tell", "arguments": json.dumps({"is": answer})}
                message["tool_calls"] = [{"id": uuid.uuid4().hex, "type": "function", "function": arguments}]
            yield {**message, "prompt_tokens": len(said.split()), "completion_tokens": position}
            if "slowly" in said:
                time.sleep(PAUSE_SECONDS)
            if "breaks" in said or self.late == "breaks":
                raise HTTPException(503, "out of memory")


if __name__ == "__main__":
    port, late, wrong = sys.argv[1:]
    server = litserve.LitServer(Sayer(late, int(wrong)), accelerator="cpu", workers_per_device=1, timeout=30)
    server.run(
        host="127.0.0.1",
        port=int(port),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        pretty_logs=False,
    )
