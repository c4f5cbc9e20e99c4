# The job, from outside the network, with the tokens that init made. Sourced by `run`.
step "the job"

outside() {
  local port=$1
  shift
  "$dist/bulkhead" "$@" --data "$people" --endpoint "https://$(published "$port")"
}
models() { outside 7101 "$@"; }
tools() { outside 7102 "$@"; }
approvals() { outside 7103 "$@"; }
audit() { outside 7104 "$@"; }
agent() {
  "$dist/bulkhead" agent run "$@" --data "$people" --endpoint \
    "model-router=https://$(published 7101),tool-executor=https://$(published 7102)"
}
exits() {
  local code=$1 got=0
  shift
  "$@" || got=$?
  equal "$got" "$code"
}
field() { "$python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
succeeded() { contains "$(audit audit query --kind tool.outcome --json)" "$1"; }
recorded() { contains "$(audit audit query --kind "$1" --json)" "\"kind\": \"$1"; }

claim "a file is made" exits 0 tools tools run fs.write path=a.txt content=one
waits=$(tools tools run fs.delete path=a.txt --json) || [ $? = 3 ]
execution=$(field execution_id <<<"$waits") approval=$(field approval_id <<<"$waits")
claim "to delete it needs a person" contains "$(approvals approvals ls --json)" "$approval"
claim "an agent is no person" exits 4 approvals approvals approve "$approval" --yes --as agent
claim "it is still there" exits 0 tools tools run fs.read path=a.txt
claim "a person approves" exits 0 approvals approvals approve "$approval" --yes
until_true 30 "the deletion on record" succeeded "$execution"
claim "it is gone" exits 1 tools tools run fs.read path=a.txt
claim "a stranger's token is refused" exits 4 tools tools ls --token bhk_0000
claim "plaintext is refused" exits 5 "$dist/bulkhead" tools ls --token-file "$people/tokens/agent" \
  --endpoint "http://$(published 7102)" --timeout 5s
claim "the agent works, with simulated models" exits 0 agent "summarise the folder" --steps-max 3
until_true 30 "its model calls on record" recorded model.
claim "the models are shown" contains "$(models models ls)" primary
claim "the command works inside the network" contains "$(compose --profile client run -T --rm client tools ls 2>/dev/null)" fs.write

fails_inside() { fails compose --profile client run -T --rm client "$@"; }
claim "inside there is no person's token to be had" fails_inside approvals ls --as approver

# What one trace holds, and of whom, in the bytes that the receiver behind the collector stored.
exported() {
  "$python" - "$received" "$1" "${@:2}" <<'P'
import pathlib, sys
folder, signal, *wanted = sys.argv[1:]
got = b"".join(path.read_bytes() for path in pathlib.Path(folder).glob(f"{signal}-*"))
missing = [text for text in wanted if (bytes.fromhex(text[3:]) if text.startswith("id:") else text.encode()) not in got]
sys.exit(f"{signal} lack {missing} in {len(got)} bytes" if missing else 0)
P
}
trace=$(audit audit query --kind tool.outcome --json |
  "$python" -c 'import json, sys; print([e["event"]["traceparent"] for e in json.load(sys.stdin)["events"]][-1].split("-")[1])')
for signal in traces metrics logs; do
  until_true 40 "$signal of all services at the collector" exported $signal model-router tool-executor approval audit
  passed=$((passed + 1))
  echo "ok: $signal of all four services reach a collector"
done
until_true 40 "the trace of the deletion" exported traces "id:$trace" execute_tool "record audit"
