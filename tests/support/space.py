"""A private space for clusters: its own network, processes, sshd and home.

`ray stop` ends every Ray that it sees, `ray start` tells the whole machine where it is, and the launcher logs
in as root: all of it happens in namespaces that vanish with the test.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Run as the first process of the namespaces: root's home is another one, /tmp/ray and /run are empty. It ends
# when its input does, be it that the test was killed.
FIRST = """
set -e
ip link set lo up
mount --make-rprivate /
mkdir -p /tmp/ray && mount --bind "$1/ray" /tmp/ray
mount -t tmpfs tmpfs /run && mkdir /run/sshd
mount --bind "$1/passwd" /etc/passwd
touch "$1/up"
exec 3<&0
cat <&3 & wait  # bash stays: the first process has to bury those whose parents died
"""


class Space:
    """Namespaces that live until ``close``; ``run`` runs a command in them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir(parents=True)
        (folder / "ray").mkdir()
        lines = Path("/etc/passwd").read_text().splitlines()
        others = [line for line in lines if not line.startswith("root:")]
        (folder / "passwd").write_text("\n".join([f"root:x:0:0:root:{self.home}:/bin/bash", *others, ""]))
        # Debian's profile sets PATH anew, so the login shell's own file says where python is.
        path = f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={REPOSITORY}\n"
        (self.home / ".bashrc").write_text(path)
        self.environment = {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "disabled",
            "RAY_USAGE_STATS_ENABLED": "0",
            "LANG": "C.UTF-8",
        }
        # --kill-child: whatever ends this test ends all that runs inside.
        command = ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc"]
        command += ["bash", "-c", FIRST, "first", str(folder)]
        self.outer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (folder / "up").exists():
            if self.outer.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError("the namespaces did not come up")
            time.sleep(0.02)
        (self.first,) = map(
            int, Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        )

    def popen(self, *command: object, cwd: Path = REPOSITORY, **environment: str) -> subprocess.Popen:
        """Start a command inside; what it says is one stream."""
        enter = ["nsenter", "-t", str(self.first), "-n", "-m", "-p", f"--wd={cwd}"]
        return subprocess.Popen(
            [*enter, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=self.environment | environment,
        )

    def run(self, *command: object, **options) -> tuple[int, str]:
        """Run a command inside; returns its exit code and all it said."""
        with self.popen(*command, **options) as process:
            try:
                said, _ = process.communicate()
            except BaseException:  # the test's time is over, for instance
                process.kill()
                raise
        return process.returncode, said

    def serve_ssh(self) -> Path:
        """Start an sshd on 127.0.0.1:22 that lets root in by a key; returns the key's file."""
        for name in ("host", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True
            )
        (self.folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nHostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/key.pub\n"
            "PermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\nPidFile none\n"
            "Subsystem sftp internal-sftp\n"
        )
        self.daemon = self.popen(
            shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-e", "-f", self.folder / "sshd_config"
        )
        return self.folder / "key"

    def close(self) -> None:
        """End all that runs inside."""
        self.outer.kill()
        self.outer.wait()


def open_space(folder: Path, *programs: str) -> Space:
    """A space, or a skip that says what is missing; a failure where RAYMOE_REQUIRE_SSHD is set."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [p for p in ("unshare", "nsenter", "ip", *programs) if shutil.which(p, path=path) is None]
    why = f"not installed: {', '.join(missing)}" if missing else "needs root" if os.getuid() else ""
    if not why:
        try:
            return Space(folder)
        except (OSError, RuntimeError) as error:
            why = str(error)
    if os.environ.get("RAYMOE_REQUIRE_SSHD"):
        pytest.fail(f"no private space for a cluster: {why}")
    pytest.skip(f"no private space for a cluster: {why}")
