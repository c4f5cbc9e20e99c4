"""The shortest client: no generated code, the services describe themselves.

    python quickstart.py 127.0.0.1:7102 bulkhead-data/tokens/agent
"""

# README: begin
import json
import pathlib
import sys
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, token_file = sys.argv[1:]
channel = grpc.insecure_channel(address)
pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
metadata = [("authorization", "Bearer " + pathlib.Path(token_file).read_text().strip())]


def call(service, name, request):
    method = pool.FindServiceByName(service).FindMethodByName(name)
    send = channel.unary_unary(
        f"/{service}/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    message = json_format.ParseDict(request, message_factory.GetMessageClass(method.input_type)())
    return send(message, metadata=metadata, timeout=20)


answer = call("bulkhead.tools.v1.ToolExecutorService", "ExecuteToolCall", {
    "request_id": str(uuid.uuid4()),
    "call": {"tool": "fs.list", "arguments_json": json.dumps({"path": "."})},
})
print(answer.execution.result.content)
# README: end
