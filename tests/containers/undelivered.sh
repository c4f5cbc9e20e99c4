# Events that audit does not have yet outlive their containers. Sourced by `run`.
step "undelivered events"

# How many events wait in each slot of the routers' volume, by what is on disk.
waiting() {
  "$python" - "$(docker volume inspect -f '{{.Mountpoint}}' "$(volume model-router-data)")" <<'P'
import pathlib, struct, sys
# A frame has its length, a checksum, and the events of one call, here one each; `delivered` has a segment and an offset in it.
for outbox in sorted(pathlib.Path(sys.argv[1]).glob("replica-*/outbox")):
    mark = outbox / "delivered"
    delivered = struct.unpack_from("<QQ", mark.read_bytes()) if mark.exists() else (0, 0)
    events = 0
    for segment in sorted(outbox.glob("*.events")):
        data, at = segment.read_bytes(), 0
        while at + 8 <= len(data) and (length := struct.unpack_from("<I", data, at)[0]):
            events += (int(segment.stem), at) >= delivered
            at += 8 + length
    print(events)
P
}
model_calls() { audit audit query --kind model. --limit 1000 --json | grep -c '"kind": "model\.call"'; }
more_calls() { [ "$(model_calls)" -ge "$1" ] || { echo "$(model_calls) of $1"; return 1; }; }

before=$(model_calls)
compose stop audit >/dev/null 2>&1
# As many as reach more than one of the three routers, whichever the door takes.
made=0
spread() { [ "$(waiting | grep -cv '^0$')" -ge 2 ]; }
until spread; do
  made=$((made + 1))
  [ "$made" -le 40 ] || fail "calls do not reach a second router"
  agent "say something" --steps-max 1 >/dev/null 2>&1 || [ $? = 1 ] || fail "a model call while audit is away"
done
compose --profile demo down >"$work/down.log" 2>&1 || { cat "$work/down.log" >&2; fail "it does not go down"; }
wait=$(waiting | awk "{ all += \$1 } END { print all }")
claim "$made calls wait in the volume after down" equal "$wait" "$made"
compose --profile demo up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "it does not come up again"; }
for service in audit approval tool-executor model-router door; do
  until_true 60 "$service to be healthy again" healthy "$(container $service)"
done
until_true 90 "one router to deliver what three have left" more_calls $((before + made))
passed=$((passed + 1))
echo "ok: one router delivers what three have left, over down and up"
