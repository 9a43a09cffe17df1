#!/usr/bin/env python3
"""Checks the compose file without a container engine.

- It follows the Compose specification (schema of check-jsonschema; `pip install check-jsonschema`).
- The entry point of the image (which is in Kafka's jars) turns the environment of each broker into settings with which Kafka
  formats its storage, and these have every setting of deploy/kafka/broker.properties.
- Processes have different names, and Prometheus scrapes each of them.
- With production.yaml on top, the brokers' settings have TLS, every certificate that `prepare --tls` makes is valid for its name, and each
  process mounts the files that its settings name.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse

from ruamel.yaml import YAML

HERE = pathlib.Path(__file__).resolve().parent
DEPLOY = HERE.parent
ROLES = ("edge", "worker", "ledger", "console")
LOG4J = "Configuration:\n  Properties:\n    Property: []\n  Loggers:\n    Logger: []\n    Root: {level: INFO, AppenderRef: {ref: STDOUT}}\n"


def load(path):
    return YAML(typ="safe").load(path.read_text())


def properties(text):
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def settings_of(environment, jars):
    """The settings that the image makes of a broker's environment; formats the storage with them."""
    with tempfile.TemporaryDirectory() as work:
        folders = {name: pathlib.Path(work, name) for name in ("default", "mounted", "final")}
        for folder in folders.values():
            folder.mkdir()
        (folders["default"] / "server.properties").touch()
        for name in ("log4j2.yaml", "tools-log4j2.yaml"):
            (folders["default"] / name).write_text(LOG4J)
        command = ["java", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]
        command += ["kafka.docker.KafkaDockerWrapper", "setup"]
        command += [text for name, folder in folders.items() for text in (f"--{name}-configs-dir", str(folder))]
        here = {"PATH": os.environ["PATH"], **environment, "KAFKA_LOG_DIRS": f"{work}/data"}
        done = subprocess.run(command, env=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return properties((folders["final"] / "server.properties").read_text())


def merged(base, more):
    """A service with another file on top, as Compose merges them: maps by key, lists one after the other."""
    if isinstance(base, dict) and isinstance(more, dict):
        keys = [*base, *(key for key in more if key not in base)]
        return {key: merged(base[key], more[key]) if key in base and key in more else more.get(key, base.get(key)) for key in keys}
    return base + more if isinstance(base, list) and isinstance(more, list) else more


def check_tls(services, brokers, roles, jars):
    more = load(HERE / "production.yaml")["services"]
    assert not set(more) - set(services), set(more) - set(services)
    with tempfile.TemporaryDirectory() as work:
        here = pathlib.Path(work, "compose")
        shutil.copytree(HERE, here, ignore=shutil.ignore_patterns("state", ".env"))
        rules = DEPLOY.parent / "docs/tour"
        for _ in range(2):
            subprocess.run([here / "prepare", "--tls", rules], check=True, capture_output=True)
        tls = here / "state/tls"
        for name in (*brokers, "postgres", "mashang"):
            verify = ["openssl", "verify", "-x509_strict", "-CAfile", tls / "ca.crt", "-verify_hostname", name, tls / f"{name}.crt"]
            subprocess.run(verify, check=True, capture_output=True)
            pair = [["openssl", "x509", "-pubkey", "-noout", "-in", tls / f"{name}.crt"], ["openssl", "pkey", "-pubout", "-in", tls / f"{name}.key"]]
            one, other = (subprocess.run(command, check=True, capture_output=True).stdout for command in pair)
            assert one == other, f"{name}: its key is not that of its certificate"
        for name in (*roles, *brokers, "postgres", "topics", "rules"):
            for volume in more[name]["volumes"]:
                source, target, mode = volume.split(":")
                assert (here / source).is_file() and mode == "ro", volume
        for name, broker in brokers.items():
            service = merged(broker, more[name])
            # The image formats its storage with these settings; a broker reads the certificate when it starts.
            made = settings_of(service["environment"], jars)
            assert made["listener.security.protocol.map"] == "CLIENT:SSL,CONTROLLER:SSL", made
            targets = {volume.split(":")[1] for volume in service["volumes"]}
            assert {made["ssl.keystore.location"], made["ssl.truststore.location"]} <= targets, targets
            assert made["ssl.client.auth"] == "required", name
        settings = tomllib.loads((HERE / "tls.toml").read_text())["kafka-client"]
        files = {value for key, value in settings.items() if key.endswith(".location")}
        for name in (*roles, "topics", "rules"):
            service = merged(services[name], more[name])
            targets = {volume.split(":")[1] for volume in service["volumes"]}
            assert files | {service["environment"]["MASHANG_CONFIG"]} <= targets, name
            ledger = service["environment"].get("MASHANG_LEDGER")
            if ledger:
                url = urllib.parse.urlsplit(ledger)
                query = urllib.parse.parse_qs(url.query)
                assert query["sslmode"] == ["verify-full"] and query["sslrootcert"][0] in targets, ledger


def main():
    jars = pathlib.Path(os.environ.get("MASHANG_KAFKA_JARS", DEPLOY.parent / "target/kafka/jars"))
    file = HERE / "compose.yaml"
    schema = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(file), str(HERE / "production.yaml")]
    subprocess.run(schema, check=True, stdout=sys.stderr)
    services = load(file)["services"]

    promised = properties((DEPLOY / "kafka/broker.properties").read_text())
    brokers = {name: service for name, service in services.items() if name.startswith("kafka-")}
    voters = ",".join(f"{broker['environment']['KAFKA_NODE_ID']}@{name}:9093" for name, broker in brokers.items())
    for name, broker in brokers.items():
        made = settings_of(broker["environment"], jars)
        missing = {key: value for key, value in promised.items() if made.get(key) != value}
        assert not missing, f"{name}: {missing}"
        assert made["controller.quorum.voters"] == voters, f"{name}: {made['controller.quorum.voters']}, not {voters}"
        assert made["advertised.listeners"] == f"CLIENT://{name}:9092", name

    roles = {name: service for name, service in services.items() if service.get("command", [""])[0] in ROLES}
    assert len(roles) == 6, sorted(roles)
    instances = [service["command"][service["command"].index("--instance") + 1] for service in roles.values()]
    assert len(set(instances)) == len(instances), instances
    everywhere = ",".join(f"{name}:9092" for name in brokers)
    for name, service in roles.items():
        assert service["environment"]["MASHANG_KAFKA"] == everywhere, name

    scraped = load(DEPLOY / "prometheus/fleet.yml")["scrape_configs"][0]["static_configs"]
    targets = {(job["labels"]["role"], target) for job in scraped for target in job["targets"]}
    expected = {(service["command"][0], f"{name}:9464") for name, service in roles.items()}
    assert targets == expected, targets ^ expected
    check_tls(services, brokers, roles, jars)
    print(f"compose: {len(services)} services, {len(brokers)} brokers, {len(roles)} roles")


main()
