"""Checks a node or a router by nothing but the two proto files; run by grpcio.sh, which generates the code.

Every check says what it expects. The first one that fails ends the program with exit code 1.
"""

import os
import sys

import grpc

MAX_VALUE_BYTES = 16 << 20
MAX_KEY_BYTES = 1_024
TIMEOUT_SECONDS = 60


class Caller:
    """The three methods of one of the services, with the messages of its package."""

    def __init__(self, service, address):
        channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
        )
        grpc.channel_ready_future(channel).result(TIMEOUT_SECONDS)
        if service == "cache":
            import cache_server_pb2 as messages
            import cache_server_pb2_grpc as stubs

            self.stub = stubs.CacheStub(channel)
        else:
            import router_server_pb2 as messages
            import router_server_pb2_grpc as stubs

            self.stub = stubs.RouterStub(channel)
        self.messages = messages

    def get(self, bucket, key):
        request = self.messages.GetRequest(bucket=bucket, key=key)
        return self.stub.Get(request, timeout=TIMEOUT_SECONDS)

    def put(self, bucket, key, value):
        request = self.messages.PutRequest(bucket=bucket, key=key, value=value)
        return self.stub.Put(request, timeout=TIMEOUT_SECONDS)

    def delete(self, bucket, key):
        request = self.messages.DeleteRequest(bucket=bucket, key=key)
        return self.stub.Delete(request, timeout=TIMEOUT_SECONDS)


def check(what, holds):
    if not holds:
        sys.exit(f"FAILED: {what}")
    print(f"ok: {what}")


def check_refused(what, code, naming, call):
    """`call` ends with this status code, and its text contains `naming`."""
    try:
        call()
    except grpc.RpcError as error:
        expected = error.code() == code and naming in error.details()
        check(f"{what} (answered: {error.code().name}: {error.details()})", expected)
    else:
        check(f"{what} (answered: OK)", False)


def check_values(caller, bucket):
    values = {
        b"text": "text, caf\u00e9".encode(),
        b"empty": b"",
        b"great": os.urandom(10_000_000),
        b"greatest": os.urandom(MAX_VALUE_BYTES),
        b"two\nlines\n": b"of a key with newlines",
        b"\xff\xfe\x00": b"of a key that is not UTF-8",
        b"k" * MAX_KEY_BYTES: b"of the longest key",
    }
    for key, value in values.items():
        shown = key if len(key) < 40 else f"{len(key)} bytes"
        check(f"put {shown}", caller.put(bucket, key, value).successful)
        got = caller.get(bucket, key)
        check(f"get {shown} gives what was put", got.successful and got.value == value)
        check(f"put {shown} again", caller.put(bucket, key, b"other").successful)
        check(f"get {shown} gives the new value", caller.get(bucket, key).value == b"other")
        check(f"delete {shown}", caller.delete(bucket, key).successful)
        check_refused(
            f"get {shown} after its delete is a miss",
            grpc.StatusCode.NOT_FOUND,
            "",
            lambda key=key: caller.get(bucket, key),
        )
        check(f"delete {shown} again", caller.delete(bucket, key).successful)


def check_limits(caller, bucket):
    cases = [
        ("an empty key", bucket, b"", b"v", "1024"),
        ("an over-long key", bucket, b"k" * (MAX_KEY_BYTES + 1), b"v", "1024"),
        ("an empty bucket", "", b"k", b"v", "63"),
        ("an over-long bucket", "b" * 64, b"k", b"v", "63"),
        ("a bucket with a slash", "a/b", b"k", b"v", "A-Z"),
        ("a bucket of dots", "..", b"k", b"v", ".."),
        ("an over-size value", bucket, b"k", bytes(MAX_VALUE_BYTES + 1), str(MAX_VALUE_BYTES)),
        ("a value far too great", bucket, b"k", bytes(3 * MAX_VALUE_BYTES), str(MAX_VALUE_BYTES)),
    ]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for what, in_bucket, key, value, limit in cases:
        check_refused(f"put of {what}", invalid, limit, lambda: caller.put(in_bucket, key, value))
        if "value" in what:
            continue
        check_refused(f"get of {what}", invalid, limit, lambda: caller.get(in_bucket, key))
        check_refused(f"delete of {what}", invalid, limit, lambda: caller.delete(in_bucket, key))


def main():
    service, address = sys.argv[1:]
    caller = Caller(service, address)
    # A bucket of this run's own, so that what is there already is in nobody's way.
    bucket = f"grpcio-{os.getpid()}-{os.urandom(4).hex()}"
    check_values(caller, bucket)
    check_limits(caller, bucket)
    print(f"{service} at {address}: all as the proto files and the limits say")


if __name__ == "__main__":
    main()
