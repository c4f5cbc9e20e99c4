#!/usr/bin/env bash
# Any gRPC client that reads reflection can call the services. Needs `buf` on the PATH.
#
#   calls.sh EXECUTOR TOKENS      such as 127.0.0.1:7102 bulkhead-data/tokens
set -euo pipefail
executor=$1 tokens=$2

# README: begin
# With grpcurl the same is: grpcurl -plaintext -H "authorization: …" -d "$2" "$executor" "$service/$1"
service=bulkhead.tools.v1.ToolExecutorService
call() {
  buf curl --protocol grpc --http2-prior-knowledge -H "authorization: Bearer $(cat "$tokens/agent")" \
    -d "$2" "http://$executor/$service/$1"
}
call ListTools '{}'
call PlanToolCall '{"call": {"tool": "fs.write", "arguments_json": "{\"path\":\"b.txt\",\"content\":\"one\\n\"}"}}'
call ExecuteToolCall '{"request_id": "'"$(cat /proc/sys/kernel/random/uuid)"'",
  "call": {"tool": "fs.write", "arguments_json": "{\"path\":\"b.txt\",\"content\":\"one\\n\"}"}}'
# README: end
