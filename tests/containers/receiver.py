"""Takes OTLP over gRPC and stores every export as it came: FOLDER/{traces,metrics,logs}-N.

    receiver.py ADDRESS FOLDER

Whoever looks into them looks for bytes, so that no decoder is needed: names are text and trace ids are 16 bytes.
"""

import concurrent.futures
import itertools
import pathlib
import sys

import grpc

METHODS = {
    "opentelemetry.proto.collector.trace.v1.TraceService": "traces",
    "opentelemetry.proto.collector.metrics.v1.MetricsService": "metrics",
    "opentelemetry.proto.collector.logs.v1.LogsService": "logs",
}


def main():
    address, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    count = itertools.count()

    def handler(signal):
        def store(request, _context):
            (folder / f"{signal}-{next(count)}").write_bytes(request)
            # An empty answer is the message of a full success.
            return b""

        return grpc.unary_unary_rpc_method_handler(store)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    for service, signal in METHODS.items():
        methods = {"Export": handler(signal)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    if not server.add_insecure_port(address):
        sys.exit(f"cannot listen on {address}")
    server.start()
    server.wait_for_termination()


main()
