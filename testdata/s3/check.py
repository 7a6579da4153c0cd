#!/usr/bin/env python3
"""Whether an S3 server does what the tables rely on: conditional writes of which exactly one wins,
reads that see every write before them, ranges, listings, uploads in parts, copies, deletes.

    python3 testdata/s3/check.py --venv ~/.cache/upriver/s3-venv

starts run_server.py and checks that server; with --port-file it checks one that runs already.
Exit codes: 0 all holds, 1 something does not, 2 something else failed, 77 left out because PyPI
cannot be reached.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from peers import (  # noqa: E402
    EXIT_BROKEN,
    EXIT_LEFT_OUT,
    EXIT_WRONG,
    Broken,
    LeftOut,
    Processes,
    prepare,
    say,
)

WRITERS = 8
START_SECONDS_MAX = 5
REQUEST_SECONDS_MAX = 60
MIB = 1 << 20
# S3 takes parts of at least 5 MiB, all but the last.
PART_BYTES = 5 * MIB
SMALL_BYTES, LARGE_BYTES = 50_000_000, 200_000_000
# Four times the bytes in up to eight times the time: quadratic work would take sixteen times.
SLOWER_MAX = 2 * LARGE_BYTES / SMALL_BYTES
# A page of a listing holds up to 1,000 keys.
LISTED_KEYS = 2_300


class Bucket:
    """The bucket through botocore, which repeats nothing here: each answer is the server's."""

    def __init__(self, place):
        import botocore.config
        import botocore.session

        self.host = urllib.parse.urlsplit(place["endpoint"]).netloc
        self.client = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=place["endpoint"],
            region_name=place.get("region", "us-east-1"),
            aws_access_key_id=place["access_key_id"],
            aws_secret_access_key=place["secret_access_key"],
            config=botocore.config.Config(
                max_pool_connections=2 * WRITERS,
                read_timeout=REQUEST_SECONDS_MAX,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
                signature_version="s3v4",
            ),
        )
        self.client.head_bucket(Bucket=place["bucket"])
        # A bucket of its own: what earlier runs left is in no listing.
        self.name = f"{place['bucket']}-check-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=self.name)

    def call(self, operation, **parameters):
        """The status and the answer."""
        from botocore.exceptions import ClientError

        try:
            answer = getattr(self.client, operation)(Bucket=self.name, **parameters)
        except ClientError as error:
            answer = error.response
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer

    def must(self, operation, **parameters):
        status, answer = self.call(operation, **parameters)
        expect(f"status of {operation} {parameters.get('Key', '')}", status // 100, 2)
        return answer

    def put(self, key, body, **parameters):
        return self.must("put_object", Key=key, Body=body, **parameters)["ETag"]

    def get(self, key, **parameters):
        return self.must("get_object", Key=key, **parameters)["Body"].read()

    def keys(self, **parameters):
        """All keys of a listing, page by page."""
        found = []
        while True:
            page = self.must("list_objects_v2", **parameters)
            found += [entry["Key"] for entry in page.get("Contents", [])]
            if not page["IsTruncated"]:
                return found
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    def signed_put(self, key, **conditions):
        """The path and headers of a put that can be sent by hand."""
        address = self.client.generate_presigned_url(
            "put_object", Params={"Bucket": self.name, "Key": key, **conditions}
        )
        parts = urllib.parse.urlsplit(address)
        names = {"IfMatch": "If-Match", "IfNoneMatch": "If-None-Match"}
        headers = {names[name]: value for name, value in conditions.items()}
        return f"{parts.path}?{parts.query}", headers


class Wrong(Exception):
    """The server does not do what it has to."""


def expect(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what} is {str(got)[:300]!r}, expected {str(wanted)[:300]!r}")


class Put:
    """A put of which all but the last byte is sent, so that many can be finished at once."""

    def __init__(self, bucket, key, body, **conditions):
        self.body = body
        path, headers = bucket.signed_put(key, **conditions)
        self.connection = http.client.HTTPConnection(bucket.host, timeout=REQUEST_SECONDS_MAX)
        self.connection.putrequest("PUT", path)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders(body[:-1])

    def finish(self):
        """The status and the ETag."""
        self.connection.send(self.body[-1:])
        answer = self.connection.getresponse()
        answer.read()
        self.connection.close()
        return answer.status, answer.headers.get("ETag")

    def abandon(self):
        self.connection.close()


def race(puts):
    """Finishes all the puts at the same moment; gives what they were answered."""
    start = threading.Barrier(len(puts))

    def finish(put):
        start.wait()
        return put.finish()

    with concurrent.futures.ThreadPoolExecutor(len(puts)) as threads:
        return list(threads.map(finish, puts))


def one_wins(bucket, key, conditions):
    """Writers race for the key under the same condition; gives the winner's ETag."""
    # An ETag is that of the content: no two writers of any round may write the same.
    bodies = [uuid.uuid4().bytes * 100 for _ in range(WRITERS)]
    answers = race([Put(bucket, key, body, **conditions) for body in bodies])
    statuses = sorted(status for status, _ in answers)
    expect(f"statuses of the writers of {key}", statuses, [200] + [412] * (WRITERS - 1))
    winner = next(index for index, (status, _) in enumerate(answers) if status == 200)
    expect(f"content of {key}", bucket.get(key), bodies[winner])
    return answers[winner][1]


def check_create(bucket, rounds):
    """If-None-Match: * creates, and is refused with 412 where the key exists."""
    bucket.put("create/one", b"first", IfNoneMatch="*")
    status, answer = bucket.call("put_object", Key="create/one", Body=b"second", IfNoneMatch="*")
    expect("status of a second create", status, 412)
    expect("code of a second create", answer["Error"]["Code"], "PreconditionFailed")
    expect("content", bucket.get("create/one"), b"first")
    bucket.must("delete_object", Key="create/one")
    bucket.put("create/one", b"third", IfNoneMatch="*")


def check_create_race(bucket, rounds):
    """Of eight writers that create the same key, one wins."""
    for number in range(rounds):
        one_wins(bucket, f"create-race/{number:020}.json", {"IfNoneMatch": "*"})


def check_update(bucket, rounds):
    """If-Match replaces what has this ETag, and nothing else."""
    first = bucket.put("update/one", b"first")
    second = bucket.put("update/one", b"second", IfMatch=first)
    expect("that the ETag changes", first == second, False)
    status, answer = bucket.call("put_object", Key="update/one", Body=b"third", IfMatch=first)
    expect("status of an update of the first", status, 412)
    expect("code of an update of the first", answer["Error"]["Code"], "PreconditionFailed")
    expect("content", bucket.get("update/one"), b"second")
    status, _ = bucket.call("put_object", Key="update/absent", Body=b"first", IfMatch=first)
    expect("status of an update of nothing", status, 404)


def check_update_race(bucket, rounds):
    """Of eight writers that replace the same version, one wins."""
    etag = bucket.put("update-race", b"first")
    for _ in range(rounds):
        etag = one_wins(bucket, "update-race", {"IfMatch": etag})


def check_conditional_reads(bucket, rounds):
    """Reads by ETag: 412 where another is asked for, 304 where it is known already."""
    etag = bucket.put("read/one", b"content")
    expect("content by ETag", bucket.get("read/one", IfMatch=etag), b"content")
    other = '"00000000000000000000000000000000"'
    expect("If-Match", bucket.call("get_object", Key="read/one", IfMatch=other)[0], 412)
    expect("If-None-Match", bucket.call("get_object", Key="read/one", IfNoneMatch=etag)[0], 304)


def check_ranges(bucket, rounds):
    """Ranges by first and last byte, from a byte on, and the last bytes."""
    body = bytes(range(256)) * 40
    bucket.put("range/one", body)
    size = len(body)
    for asked, first, last in [
        ("bytes=0-0", 0, 0),
        ("bytes=10-99", 10, 99),
        ("bytes=10000-", 10_000, size - 1),
        ("bytes=10000-99999", 10_000, size - 1),
        ("bytes=-8", size - 8, size - 1),
        ("bytes=-99999", 0, size - 1),
    ]:
        status, answer = bucket.call("get_object", Key="range/one", Range=asked)
        expect(f"status of {asked}", status, 206)
        expect(f"content of {asked}", answer["Body"].read(), body[first : last + 1])
        expect(f"range of {asked}", answer["ContentRange"], f"bytes {first}-{last}/{size}")
        expect(f"length of {asked}", answer["ContentLength"], last + 1 - first)
    status, _ = bucket.call("get_object", Key="range/one", Range=f"bytes={size}-")
    expect("status of a range behind the end", status, 416)


def check_head(bucket, rounds):
    """HEAD tells size, ETag and time; 404 for what is not there."""
    etag = bucket.put("head/one", b"12345")
    answer = bucket.must("head_object", Key="head/one")
    expect("size", answer["ContentLength"], 5)
    expect("ETag", answer["ETag"], etag)
    age = abs(time.time() - answer["LastModified"].timestamp())
    expect(f"that the time is now, it is {age:.0f} s off", age < 5, True)
    expect("status of none", bucket.call("head_object", Key="head/none")[0], 404)
    expect("status of getting none", bucket.call("get_object", Key="head/none")[0], 404)
    bucket.put("head/empty", b"")
    expect("size of nothing", bucket.must("head_object", Key="head/empty")["ContentLength"], 0)


def check_listing(bucket, rounds):
    """Listings in order of the keys' bytes, over pages, from a key on, by folder."""
    keys = [f"list/{number % 7}/{number:05}" for number in range(LISTED_KEYS)]
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(lambda key: bucket.put(key, b"1"), keys))
    keys.sort()
    expect("keys", bucket.keys(Prefix="list/"), keys)
    expect("keys by pages of 100", bucket.keys(Prefix="list/", MaxKeys=100), keys)
    expect("keys of a folder", bucket.keys(Prefix="list/3/"), [k for k in keys if k[5] == "3"])
    expect("keys after one", bucket.keys(Prefix="list/", StartAfter=keys[1500]), keys[1501:])
    after_none = bucket.keys(Prefix="list/", StartAfter="list/3")
    expect("keys after one that is not there", after_none, [k for k in keys if k[5] >= "3"])
    paged = bucket.keys(Prefix="list/", StartAfter=keys[1500], MaxKeys=99)
    expect("keys after one by pages", paged, keys[1501:])
    expect("keys of no folder", bucket.keys(Prefix="list/x"), [])

    bucket.put("list/top", b"12345")
    folders, found, token = [], [], {}
    while True:
        page = bucket.must("list_objects_v2", Prefix="list/", Delimiter="/", MaxKeys=3, **token)
        folders += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        found += page.get("Contents", [])
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    expect("folders", folders, [f"list/{number}/" for number in range(7)])
    expect("keys beside the folders", [entry["Key"] for entry in found], ["list/top"])
    expect("size in a listing", found[0]["Size"], 5)
    head = bucket.must("head_object", Key="list/top")
    expect("ETag in a listing", found[0]["ETag"], head["ETag"])


def check_names(bucket, rounds):
    """Keys with what has to be escaped come back as they were written."""
    keys = [
        "names/day=2024-01-01/a b.parquet",
        "names/day=2024-01-01/a%20b.parquet",
        "names/day=2024-01-01/a+b&c.parquet",
        "names/_delta_log/00000000000000000000.json",
        "names/service=räksmörgås/<1>.parquet",
    ]
    for number, key in enumerate(keys):
        bucket.put(key, b"%d" % number)
    for number, key in enumerate(keys):
        expect(f"content of {key}", bucket.get(key), b"%d" % number)
    in_order = sorted(keys, key=lambda key: key.encode())
    expect("keys", bucket.keys(Prefix="names/"), in_order)
    for key in keys:
        source = {"Bucket": bucket.name, "Key": key}
        bucket.must("copy_object", Key=f"copied-{key}", CopySource=source)
    expect("copied keys", bucket.keys(Prefix="copied-"), [f"copied-{key}" for key in in_order])
    bucket.must("delete_objects", Delete={"Objects": [{"Key": key} for key in keys]})
    expect("keys after the delete", bucket.keys(Prefix="names/"), [])


def upload(bucket, key, parts):
    """Uploads parts; gives what completes the upload."""
    upload_id = bucket.must("create_multipart_upload", Key=key)["UploadId"]
    uploaded = []
    for number, part in enumerate(parts, 1):
        place = {"Key": key, "UploadId": upload_id, "PartNumber": number}
        etag = bucket.must("upload_part", Body=part, **place)["ETag"]
        uploaded.append({"PartNumber": number, "ETag": etag})
    return {"Key": key, "UploadId": upload_id, "MultipartUpload": {"Parts": uploaded}}


def split(body, size):
    return [body[start : start + size] for start in range(0, len(body), size)]


def check_multipart(bucket, rounds):
    """An upload in parts is there once it is completed; given up, it leaves nothing."""
    key = "parts/one"
    body = os.urandom(2 * PART_BYTES + 1000)
    complete = upload(bucket, key, split(body, PART_BYTES))
    expect("status before the end", bucket.call("head_object", Key=key)[0], 404)
    expect("keys before the end", bucket.keys(Prefix="parts/"), [])
    etag = bucket.must("complete_multipart_upload", **complete)["ETag"]
    expect("that the content is right", bucket.get(key) == body, True)
    expect("ETag", bucket.must("head_object", Key=key)["ETag"], etag)
    edge = bucket.get(key, Range=f"bytes={PART_BYTES - 5}-{PART_BYTES + 4}")
    expect("content over the edge of a part", edge, body[PART_BYTES - 5 : PART_BYTES + 5])

    given_up = upload(bucket, "parts/two", [b"other"])["UploadId"]
    bucket.must("abort_multipart_upload", Key="parts/two", UploadId=given_up)
    expect("keys after giving up", bucket.keys(Prefix="parts/"), [key])

    complete = upload(bucket, key, [b"other"])
    status, _ = bucket.call("complete_multipart_upload", IfNoneMatch="*", **complete)
    expect("status of creating what exists", status, 412)
    expect("that the content is as before", bucket.get(key) == body, True)


def check_delete(bucket, rounds):
    """Deletes, one and a thousand at once; what is not there is no error."""
    bucket.put("delete/one", b"1")
    bucket.must("delete_object", Key="delete/one")
    expect("status of getting it", bucket.call("get_object", Key="delete/one")[0], 404)
    bucket.must("delete_object", Key="delete/one")
    keys = [f"delete/{number:04}" for number in range(1000)]
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(lambda key: bucket.put(key, b"1"), keys))
    deleted = {"Objects": [{"Key": key} for key in [*keys[1:], "delete/none"]]}
    answer = bucket.must("delete_objects", Delete=deleted)
    expect("errors", answer.get("Errors", []), [])
    names = sorted(entry["Key"] for entry in answer["Deleted"])
    expect("what was deleted", names, sorted(entry["Key"] for entry in deleted["Objects"]))
    expect("keys", bucket.keys(Prefix="delete/"), keys[:1])


def check_copy(bucket, rounds):
    """A copy has the content, over what was there; 404 for what is not there."""
    etag = bucket.put("copy/from", b"content")
    bucket.put("copy/to", b"before")
    source = {"Bucket": bucket.name, "Key": "copy/from"}
    answer = bucket.must("copy_object", Key="copy/to", CopySource=source)
    expect("ETag", answer["CopyObjectResult"]["ETag"], etag)
    expect("content", bucket.get("copy/to"), b"content")
    source = {"Bucket": bucket.name, "Key": "copy/none"}
    status, _ = bucket.call("copy_object", Key="copy/to", CopySource=source)
    expect("status of copying none", status, 404)


def check_read_after_write(bucket, rounds):
    """Eight clients see at once what was written, replaced, listed and deleted."""

    def run(writer):
        for number in range(rounds // 4):
            key = f"fresh/{writer}/{number:04}"
            for body in (b"first", b"second"):
                bucket.put(key, body)
                expect(f"content of {key}", bucket.get(key), body)
            listed = bucket.keys(Prefix=f"fresh/{writer}/")
            expect("keys", listed, [key])
            bucket.must("delete_object", Key=key)
            expect(f"status of {key}", bucket.call("head_object", Key=key)[0], 404)
            expect("keys after the delete", bucket.keys(Prefix=f"fresh/{writer}/"), [])

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(run, range(WRITERS)))


def check_cut_off(bucket, rounds):
    """A put that is cut off leaves nothing; one that stalls holds nobody up."""
    stalled = Put(bucket, "cut/stalled", b"x" * MIB)
    for number in range(rounds // 10):
        Put(bucket, f"cut/{number}", b"x" * MIB).abandon()
    started = time.monotonic()
    bucket.put("cut/whole", b"whole")
    seconds = time.monotonic() - started
    expect(f"that others go on, after {seconds:.1f} s", seconds < 5, True)
    # Each connection's end is noticed on its own.
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        expect("keys", bucket.keys(Prefix="cut/"), ["cut/whole"])
        time.sleep(0.1)
    expect("status of the stalled one", stalled.finish()[0], 200)
    expect("size of the stalled one", len(bucket.get("cut/stalled")), MIB)


def seconds_of(run):
    started = time.monotonic()
    run()
    return time.monotonic() - started


def in_proportion(what, run):
    """Times the run with few bytes and with many. The few are timed thrice: the best is theirs."""
    small = min(seconds_of(lambda: run(SMALL_BYTES)) for _ in range(3))
    large = seconds_of(lambda: run(LARGE_BYTES))
    sizes = f"{SMALL_BYTES / 1e6:g} and {LARGE_BYTES / 1e6:g} MB"
    say(f"      {what}: {sizes} in {small:.2f} and {large:.2f} s")
    expect(f"that {what} takes time in proportion", large < SLOWER_MAX * small, True)


def check_large(bucket, rounds):
    """200 MB in one put and in parts, in time that grows with the bytes."""
    body = os.urandom(LARGE_BYTES)

    def by_parts(size):
        complete = upload(bucket, "large/parts", split(body[:size], 2 * PART_BYTES))
        bucket.must("complete_multipart_upload", **complete)

    def ranges(size):
        for first in range(0, size, 4_000_000):
            got = bucket.get("large/parts", Range=f"bytes={first}-{first + 65535}")
            expect("that the range is right", got == body[first : first + 65536], True)

    in_proportion("a put", lambda size: bucket.put("large/put", body[:size]))
    in_proportion("an upload in parts", by_parts)
    in_proportion("a get", lambda size: bucket.get("large/put", Range=f"bytes=0-{size - 1}"))
    expect("that the content of the put is right", bucket.get("large/put") == body, True)
    expect("that the content of the parts is right", bucket.get("large/parts") == body, True)
    per_range = seconds_of(lambda: ranges(LARGE_BYTES)) / (LARGE_BYTES / 4_000_000)
    say(f"      a range of 64 KiB: {per_range * 1000:.1f} ms")
    for key in bucket.keys(Prefix="large/"):
        bucket.must("delete_object", Key=key)


def check_pace(bucket, rounds):
    """How long a small request takes, one after the other and of eight clients."""
    for name, run in [
        ("put", lambda number: bucket.put(f"pace/{number}", b"x" * 1000)),
        ("get", lambda number: bucket.get(f"pace/{number}")),
        ("list", lambda number: bucket.keys(Prefix=f"pace/{number}")),
    ]:
        alone = statistics.median(seconds_of(lambda n=n: run(n)) for n in range(rounds))
        with concurrent.futures.ThreadPoolExecutor(WRITERS) as threads:
            together = seconds_of(lambda: list(threads.map(run, range(rounds))))
        say(f"      {name}: {alone * 1000:.1f} ms alone, {rounds / together:.0f}/s of {WRITERS}")


CHECKS = [
    check_create,
    check_create_race,
    check_update,
    check_update_race,
    check_conditional_reads,
    check_ranges,
    check_head,
    check_listing,
    check_names,
    check_multipart,
    check_delete,
    check_copy,
    check_read_after_write,
    check_cut_off,
    check_large,
    check_pace,
]


def run_checks(place, rounds, only):
    """Runs all checks; gives how many did not hold."""
    bucket = Bucket(place)
    failed = 0
    for check in CHECKS:
        name = check.__name__.removeprefix("check_")
        if only and name not in only:
            continue
        started = time.monotonic()
        fault = None
        try:
            check(bucket, rounds)
        except Wrong as wrong:
            fault = wrong
        except Exception as error:  # A server that hangs up or answers nonsense.
            fault = f"{type(error).__name__}: {str(error)[:300]}"
        failed += fault is not None
        say(f"{'ok   ' if fault is None else 'WRONG'} {name}, {time.monotonic() - started:.1f} s")
        if fault:
            say(f"      {check.__doc__}\n      {fault}")
    return failed


def start_server(processes, arguments):
    """Starts run_server.py; gives what it says of itself, and how long it took."""
    place = processes.folder / "server.json"
    command = [sys.executable, HERE / "run_server.py", "--venv", arguments.venv]
    command += ["--port-file", place]
    started = time.monotonic()
    processes.start("server", command)
    processes.wait_until("server", place.exists)
    return json.loads(place.read_text()), time.monotonic() - started


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--venv", type=Path, required=True, help="folder of the packages")
    parser.add_argument("--port-file", type=Path, help="of a server that runs already")
    parser.add_argument("--rounds", type=int, default=200, help="of each race")
    parser.add_argument("--only", action="append", help="a check by its name; may be repeated")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="upriver-s3-") as folder:
        processes = Processes(Path(folder))
        try:
            python = prepare(arguments.venv.resolve(), HERE / "requirements.txt")
            if Path(sys.prefix) != arguments.venv.resolve():
                os.execv(python, [python, *sys.argv])
            if arguments.port_file:
                place = json.loads(arguments.port_file.read_text())
            else:
                place, seconds = start_server(processes, arguments)
                say(f"the server was ready in {seconds:.1f} s")
                if seconds > START_SECONDS_MAX:
                    raise Broken(f"that is more than {START_SECONDS_MAX} s")
            return EXIT_WRONG if run_checks(place, arguments.rounds, arguments.only) else 0
        except LeftOut as reason:
            say(f"the check was left out: {reason}")
            return EXIT_LEFT_OUT
        except (Broken, OSError, subprocess.SubprocessError) as error:
            say(f"the check could not be carried out: {error}")
            return EXIT_BROKEN
        finally:
            processes.stop_all()


if __name__ == "__main__":
    sys.exit(main())
