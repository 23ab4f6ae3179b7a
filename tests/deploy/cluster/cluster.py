"""A real Kubernetes API on this machine: etcd and kube-apiserver, and nothing that would start a pod."""

import os
import subprocess
from pathlib import Path
from typing import Any, Self

import trustme
import yaml

from streams.sandbox.ports import HOST, free_port
from streams.sandbox.process import Process
from streams.sandbox.supervised import SupervisedProcesses
from tests.deploy.cluster.programs import programs
from tests.deploy.kustomize import ROOT
from tests.deploy.waiting import wait_until
from tests.tools import debian_tool

_TOKEN = "a-person-who-may-do-everything"  # its server listens on loopback, during a test


class Cluster:
    """An empty cluster; a ``with`` statement starts it, and ends it.

    Skips the test where there is no etcd; fails in CI.
    """

    def __init__(self, folder: Path) -> None:
        """Describe it; `folder` is for etcd's files, keys and logs."""
        self._folder = folder
        self._etcd = debian_tool("etcd", "etcd-server")
        self._programs = programs()
        self._url = f"https://{HOST}:{free_port()}"
        #: For commands: kubectl and its connection to this cluster.
        self.environment = {
            **os.environ,
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(folder / "kubeconfig"),
            "HOME": str(folder),  # kubectl keeps what it finds out there
        }

    def __enter__(self) -> Self:
        self._write_keys()
        self._processes = SupervisedProcesses(grace=0.0)
        try:
            self._start()
        except BaseException:
            self._processes.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def run(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the repository, with `given` as its input; ``kubectl`` reaches this cluster."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def kubectl(self, *command: str, given: str = "") -> str:
        """Run kubectl, and return what it writes; it must neither fail nor warn."""
        done = self.run("kubectl", *command, given=given)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def apply(self, documents: list[dict[str, Any]], *options: str) -> str:
        """Apply documents on the server's side."""
        text = yaml.safe_dump_all(documents)
        return self.kubectl("apply", "--server-side", "--filename", "-", *options, given=text)

    def _write_keys(self) -> None:
        """One certificate for the server; its key signs the tokens of service accounts, too."""
        authority = trustme.CA()
        server = authority.issue_cert(HOST)
        authority.cert_pem.write_to_path(self._folder / "ca.pem")
        server.cert_chain_pems[0].write_to_path(self._folder / "server.pem")
        server.private_key_pem.write_to_path(self._folder / "key.pem")
        (self._folder / "tokens.csv").write_text(f"{_TOKEN},person,person,system:masters\n")
        name = "cluster"
        kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {
                        "server": self._url,
                        "certificate-authority": str(self._folder / "ca.pem"),
                    },
                }
            ],
            "users": [{"name": name, "user": {"token": _TOKEN}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        (self._folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))

    def _start(self) -> None:
        clients, peers = (f"http://{HOST}:{free_port()}" for _ in range(2))
        etcd = self._process(
            "etcd",
            self._etcd,
            f"--data-dir={self._folder / 'etcd'}",
            *(f"--{name}-client-urls={clients}" for name in ("listen", "advertise")),
            *(f"--{name}-peer-urls={peers}" for name in ("listen", "initial-advertise")),
            f"--initial-cluster=default={peers}",
        )
        server = self._process(
            "kube-apiserver",
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers={clients}",
            f"--bind-address={HOST}",
            f"--secure-port={self._url.rpartition(':')[2]}",
            "--endpoint-reconciler-type=none",  # nobody reaches it from a pod
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged",  # as clusters have it: the namespace's profile must refuse it
            f"--token-auth-file={self._folder / 'tokens.csv'}",
            f"--tls-cert-file={self._folder / 'server.pem'}",
            f"--tls-private-key-file={self._folder / 'key.pem'}",
            f"--service-account-issuer={self._url}",
            f"--service-account-key-file={self._folder / 'key.pem'}",
            f"--service-account-signing-key-file={self._folder / 'key.pem'}",
        )

        def ready() -> bool:
            for process in (etcd, server):
                process.check()
            return self.run("kubectl", "get", "--raw", "/readyz").returncode == 0

        wait_until(ready, lambda: f"kube-apiserver starts: {server.tail(1)}")

    def _process(self, name: str, *command: str) -> Process:
        log = self._folder / f"{name}.log"
        process = Process(self._processes, name, command, dict(os.environ), log)
        process.start()
        return process
