"""`titleshot serve` with TLS on the data port, as a user sets it up."""

import ssl

import httpx
from certificates import Authority
from world import wait_for


def test_the_data_port_speaks_tls_from_the_settings(world, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("titleshot")
    text = world.settings_path.read_text()
    world.settings_path.write_text(f"tls: {{certificate: {certificate.name}, key: {key.name}}}\n{text}")
    world.start()
    wait_for(lambda: world.status()["champion"] == 1, "version 1 serves")
    trust = ssl.create_default_context(cafile=str(authority.file))
    with httpx.Client(verify=trust, trust_env=False, timeout=10) as client:

        def asked() -> bool:
            answer = client.post(f"https://127.0.0.1:{world.port}/invocations", json={"inputs": [{"truth": 1}]})
            return answer.status_code == 200

        wait_for(asked, "an answer over TLS")
