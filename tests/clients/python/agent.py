"""A client made from reflection alone: no generated stubs, no .proto files.

Lists the tools, runs one that has to wait for a person, sees it wait, approves it as another person, and
sees it done. Run it against `bulkhead up`:

    python agent.py --executor 127.0.0.1:7102 --approval 127.0.0.1:7103 --tokens bulkhead-data/tokens
"""

import argparse
import json
import pathlib
import time
import uuid

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


class Client:
    """Calls any method of a service that describes itself."""

    def __init__(self, address, token):
        self._channel = grpc.insecure_channel(address)
        self._metadata = [("authorization", f"Bearer {token}")]
        database = ProtoReflectionDescriptorDatabase(self._channel)
        self._pool = descriptor_pool.DescriptorPool(database)

    def call(self, method, **fields):
        """`method` is `package.Service/Method`; fields and answer are JSON-shaped."""
        service_name, method_name = method.rsplit("/", 1)
        service = self._pool.FindServiceByName(service_name)
        descriptor = service.FindMethodByName(method_name)
        request_class = message_factory.GetMessageClass(descriptor.input_type)
        response_class = message_factory.GetMessageClass(descriptor.output_type)
        call = self._channel.unary_unary(
            f"/{service_name}/{method_name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_class.FromString,
        )
        request = json_format.ParseDict(fields, request_class())
        response = call(request, metadata=self._metadata, timeout=20)
        return json_format.MessageToDict(response, preserving_proto_field_name=True)


EXECUTOR = "bulkhead.tools.v1.ToolExecutorService"
APPROVAL = "bulkhead.approval.v1.ApprovalService"


def settled(agent, execution_id, patience_s=20):
    """The execution once it is over."""
    until = time.monotonic() + patience_s
    while True:
        execution = agent.call(f"{EXECUTOR}/GetExecution", execution_id=execution_id)["execution"]
        if execution["state"] not in (
            "EXECUTION_STATE_PLANNED",
            "EXECUTION_STATE_AWAITING_APPROVAL",
            "EXECUTION_STATE_RUNNING",
        ):
            return execution
        if time.monotonic() > until:
            raise TimeoutError(f"still {execution['state']}")
        time.sleep(0.05)


def write(agent, path, content):
    """Asks the executor to write a file."""
    return agent.call(
        f"{EXECUTOR}/ExecuteToolCall",
        request_id=str(uuid.uuid4()),
        call={"tool": "fs.write", "arguments_json": json.dumps({"path": path, "content": content})},
        context={"session_id": "python-client"},
    )["execution"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", required=True)
    parser.add_argument("--approval", required=True)
    parser.add_argument("--tokens", required=True, type=pathlib.Path)
    options = parser.parse_args()
    token = lambda role: (options.tokens / role).read_text().strip()

    agent = Client(options.executor, token("agent"))
    person = Client(options.approval, token("approver"))

    tools = agent.call(f"{EXECUTOR}/ListTools")["tools"]
    names = [tool["name"] for tool in tools]
    print("tools:", ", ".join(names))
    assert {"fs.list", "fs.read", "fs.write", "fs.append", "fs.move", "fs.delete"} <= set(names), names

    path = f"from-python-{uuid.uuid4()}.txt"
    created = write(agent, path, "first\n")
    assert created["state"] == "EXECUTION_STATE_SUCCEEDED", created
    print("created:", path)

    waiting = write(agent, path, "second\n")
    assert waiting["state"] == "EXECUTION_STATE_AWAITING_APPROVAL", waiting
    print("overwriting waits for a person:", waiting["approval_id"])

    approval = person.call(f"{APPROVAL}/GetApproval", approval_id=waiting["approval_id"])["approval"]
    preview = json.loads(approval["plan_json"])["effects"][0]["preview"]
    assert "-first" in preview and "+second" in preview, preview
    try:
        Client(options.approval, token("agent")).call(
            f"{APPROVAL}/DecideApproval",
            request_id=str(uuid.uuid4()),
            approval_id=waiting["approval_id"],
            decision="DECISION_APPROVE",
            plan_digest=approval["plan_digest"],
        )
        raise AssertionError("the agent approved its own call")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.PERMISSION_DENIED, error

    person.call(
        f"{APPROVAL}/DecideApproval",
        request_id=str(uuid.uuid4()),
        approval_id=waiting["approval_id"],
        decision="DECISION_APPROVE",
        plan_digest=approval["plan_digest"],
    )
    done = settled(agent, waiting["execution_id"])
    assert done["state"] == "EXECUTION_STATE_SUCCEEDED", done
    read = agent.call(
        f"{EXECUTOR}/ExecuteToolCall",
        request_id=str(uuid.uuid4()),
        call={"tool": "fs.read", "arguments_json": json.dumps({"path": path})},
    )["execution"]
    assert "second" in read["result"]["content"], read
    print("approved by another person, and done")


if __name__ == "__main__":
    main()
