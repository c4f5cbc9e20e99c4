# What dies, moves, or comes twice. Sourced by `run`.
step "failures"

restarts() { equal "$(docker inspect -f '{{.RestartCount}}' "$(container "$1")")" "$2"; }
address() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(container "$1")"; }

for service in audit approval tool-executor model-router; do kill -9 "$(pid $service)"; done
for service in audit approval tool-executor model-router; do
  until_true 30 "$service to be started again" restarts $service 1
  until_true 60 "$service to be healthy again" healthy "$(container $service)"
done
claim "killed with -9, all are up again and know what was" contains "$(tools executions ls --json)" "$execution"

# The folder of a store has one owner.
told() { contains "$(compose logs --no-color "$1")" "is in use by another"; }
for service in audit approval tool-executor; do
  compose up -d --no-recreate --no-deps --scale "$service=2" "$service" >"$work/scale.log" 2>&1 || { cat "$work/scale.log" >&2; fail "$service is not scaled"; }
  until_true 30 "the second $service to say why it does not start" told "$service"
  passed=$((passed + 1))
  echo "ok: a second $service says that the store has an owner"
  compose up -d --no-recreate --no-deps --scale "$service=1" "$service" >"$work/scale.log" 2>&1 || { cat "$work/scale.log" >&2; fail "$service is not scaled back"; }
done
claim "the first ones are unharmed" exits 0 audit audit query --limit 1
claim "their calls too" exits 0 tools tools run fs.write path=alone.txt content=one

# A service that comes back elsewhere is found: the name is resolved again.
before=$(address audit)
compose stop audit >/dev/null 2>&1
squatter=$(docker run -d --network "${project}_services" --name "$project-squatter" "localhost/bulkhead/command:$BULKHEAD_TAG" serve-simulator --listen 0.0.0.0:1)
compose start audit >/dev/null 2>&1
until_true 60 "audit to be healthy at another address" healthy "$(container audit)"
claim "audit has another address now" fails equal "$(address audit)" "$before"
marked=$(tools tools run fs.write path=moved.txt content=one --json | field execution_id)
until_true 30 "events at the new address" succeeded "$marked"
docker rm -f "$squatter" >/dev/null

# Three routers, each with a store of its own, called through one name.
compose --profile demo up -d --no-recreate --scale model-router=3 >"$work/scale.log" 2>&1 || { cat "$work/scale.log" >&2; fail "no three routers"; }
routers=$(compose ps -q model-router)
for router in $routers; do until_true 60 "each router to be healthy" healthy "$router"; done
claim "three routers" equal "$(wc -w <<<"$routers")" 3
slots() { ls "$(docker volume inspect -f '{{.Mountpoint}}' "$(volume model-router-data)")" | tr '\n' ' '; }
claim "each with a store of its own" equal "$(slots)" "replica-0 replica-1 replica-2 "
called() {
  local router count=0 at
  for router in $routers; do
    at=$(docker inspect -f "{{(index .NetworkSettings.Networks \"${project}_services\").IPAddress}}" "$router")
    fetch "https://$at:7101/metrics" | grep -q 'rpc_server_call_duration_seconds_count{.*ModelRouterService/' && count=$((count + 1))
  done
  echo "$count of 3 were called"
  [ "$count" = 3 ]
}
inside() { compose --profile client run -T --rm client models ls --as agent >/dev/null 2>&1; }
call_until_all() { inside && called; }
until_true 90 "calls to reach all three" call_until_all
passed=$((passed + 1))
echo "ok: calls to one name reach all three"

# Certificates are renewed without a restart.
shown() { "$python" -c 'import ssl, sys; host, port = sys.argv[1].split(":"); print(ssl.get_server_certificate((host, int(port))))' "$(published 7104)"; }
before=$(shown)
claim "init signs certificates anew" exits 0 compose run -T --rm init init /volumes --renew-certificates
renewed() { ! equal "$(shown)" "$before"; }
until_true 30 "the new certificate" renewed
claim "calls go on with them" exits 0 tools tools run fs.write path=renewed.txt content=one

# The health check asks where the service listens that runs, whichever file says so.
sed 's/0.0.0.0:7101/0.0.0.0:7199/' "$(docker volume inspect -f '{{.Mountpoint}}' "$(volume model-router-config)")/simulated-models.toml" >"$work/other.toml"
chmod 644 "$work/other.toml"
other=$(compose run -d --no-deps -e BULKHEAD_CONFIG=/other.toml -v "$work/other.toml:/other.toml:ro" model-router 2>/dev/null | tail -1)
until_true 60 "a router with another file to be healthy" healthy "$other"
passed=$((passed + 1))
echo "ok: the health check reads the file that the service reads"
docker rm -f "$other" >/dev/null
