#!/usr/bin/env python3
"""An S3 server for tests, on loopback: ministack (PyPI, MIT licence), which keeps all in memory and
carries out conditional writes one at a time. check.py shows that it does what the tables rely on.

    python3 testdata/s3/run_server.py --venv ~/.cache/upriver/s3-venv --port-file /tmp/s3.json

Once it is ready the port file says where it is, as JSON: endpoint, bucket, region, access_key_id,
secret_access_key. It runs until SIGTERM; where its standard input is a pipe, also until that ends.

Needs Python 3.10 or later with venv, and PyPI once. Exit codes: 2 it cannot be run, 77 it cannot be
had because PyPI cannot be reached; standard error says why.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from peers import EXIT_BROKEN, EXIT_LEFT_OUT, Broken, LeftOut, prepare  # noqa: E402

# All that the server sees: it heeds many variables, some of them with other effects elsewhere.
ENVIRONMENT = {
    "PATH": os.defpath,
    "SERVICES": "s3",
    "LOG_LEVEL": "WARNING",
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
    # It would look for containers of its own otherwise.
    "DOCKER_HOST": "unix:///nonexistent",
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--venv", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--port-file", type=Path, required=True, help="written when it is ready")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    try:
        python = prepare(arguments.venv.resolve(), HERE / "requirements.txt")
        arguments.port_file.unlink(missing_ok=True)
        # The same process goes on, so that who ends this one ends the server.
        command = [str(python), str(HERE / "server.py"), str(arguments.port_file.resolve())]
        os.execve(python, command, ENVIRONMENT)
    except LeftOut as reason:
        print(f"the S3 server cannot be had: {reason}", file=sys.stderr)
        return EXIT_LEFT_OUT
    except (Broken, OSError, subprocess.SubprocessError) as error:
        print(f"the S3 server cannot be run: {error}", file=sys.stderr)
        return EXIT_BROKEN


if __name__ == "__main__":
    sys.exit(main())
