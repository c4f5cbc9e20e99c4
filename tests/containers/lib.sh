# What the container suite is made of. Sourced.

passed=0
project="bulkhead-test-$$"
export BULKHEAD_TAG="test-$$" BULKHEAD_MODELS=simulated-models COMPOSE_DOCKER_CLI_BUILD=0
# 0: the engine chooses. Nothing here may depend on a port that somebody else has.
export BULKHEAD_AUDIT_PORT=0 BULKHEAD_APPROVAL_PORT=0 BULKHEAD_EXECUTOR_PORT=0 BULKHEAD_ROUTER_PORT=0
export BULKHEAD_COMMIT="${BULKHEAD_COMMIT:-$(git -C "$repository" rev-parse HEAD)}"
# The finished programs that `context` adds.
export BULKHEAD_PROGRAMS=dist
# A name of this run's own, so that nobody's image is ever replaced.
export BULKHEAD_BUILDER="localhost/bulkhead-test/builder:$$"

step() { printf '\n-- %s (%s s)\n' "$*" "$SECONDS"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# Says what holds, once it does.
claim() {
  local what=$1
  shift
  "$@" >"$work/claim.log" 2>&1 || { cat "$work/claim.log" >&2; fail "$what"; }
  passed=$((passed + 1))
  echo "ok: $what"
}

equal() { [ "$1" = "$2" ] || { echo "got: $1"; echo "wanted: $2"; return 1; }; }
contains() { grep -qF -- "$2" <<<"$1" || { echo "no \"$2\" in: $1"; return 1; }; }
fails() { ! "$@"; }

# Waits for a condition, with a bound in seconds.
until_true() {
  local bound=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >"$work/until.log" 2>&1; do
    if [ "$SECONDS" -ge "$bound" ]; then
      cat "$work/until.log" >&2
      compose logs --tail 20 >&2 || true
      fail "waited in vain for $what"
    fi
    read -rt 0.2 <> <(:) || true
  done
}

# Without an engine nothing of this can be known. CI has one.
require_engine() {
  local missing=
  docker info >"$work/engine.log" 2>&1 || missing="no container engine answers: $(tail -1 "$work/engine.log")"
  if docker compose version >/dev/null 2>&1; then tool=(docker compose)
  elif command -v docker-compose >/dev/null; then tool=(docker-compose)
  else missing="${missing:-neither docker compose nor docker-compose is here}"; fi
  [ -z "$missing" ] && { echo "engine $(docker version --format '{{.Server.Version}}'), ${tool[*]}"; return; }
  rm -rf "$work"
  printf '\n***********************************************************\n'
  printf '*** NOT RUN: the container suite. %s\n' "$missing"
  printf '***********************************************************\n'
  # Elsewhere a machine without an engine may run the rest; there it is told, and here it is no success.
  [ "${CI:-}" = true ] && exit 1
  exit 0
}

# None of its commands takes minutes; one that hangs is a failure.
compose() { timeout 180 "${tool[@]}" -p "$project" -f "$work/context/docker-compose.yml" -f "$here/override.yml" "$@"; }
container() { compose ps -aq "$1" | head -1; }
# A page of a service, whatever certificate it shows.
fetch() { "$python" -c 'import ssl, sys, urllib.request as r; print(r.urlopen(sys.argv[1], context=ssl._create_unverified_context()).read().decode())' "$1"; }
healthy() { equal "$(docker inspect -f '{{.State.Health.Status}}' "$1")" healthy; }
volume() { echo "${project}_$1"; }
published() { compose port door "$1"; }

# The builder's base image; where it is not here and cannot be pulled, a stand-in: with finished programs it only has to
# lay out files, with `sh`.
base_image() {
  local real archive="$1/builder-stand-in.tar"
  real=$(sed -n 's/^ARG BUILDER=//p' "$repository/deploy/Dockerfile")
  docker image inspect "$real" >/dev/null 2>&1 && { docker tag "$real" "$BULKHEAD_BUILDER"; return; }
  step "a stand-in for $real"
  if [ ! -s "$archive" ]; then
    command -v debootstrap >/dev/null || apt-get install -qq -y debootstrap >/dev/null
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" >"$work/debootstrap.log" 2>&1 ||
      { tail "$work/debootstrap.log" >&2; fail "no stand-in for the base image"; }
    tar -C "$work/base" --exclude=./dev --exclude=./var/cache --exclude=./usr/share/doc -cf "$archive.new" .
    mv "$archive.new" "$archive"
    rm -rf "$work/base"
  fi
  docker import "$archive" "$BULKHEAD_BUILDER" >/dev/null
}

# The build context of a stranger, and finished programs.
context() {
  mkdir -p "$work/context"
  cp -r "$1/docker-compose.yml" "$1/.dockerignore" "$1/deploy" "$1/Cargo.toml" "$work/context/"
  cp -r "$2" "$work/context/dist"
  # By this the stages are found again that no tag holds.
  sed -i "/^FROM .* AS /a LABEL bulkhead.test=$project" "$work/context/deploy/Dockerfile"
}

# A real collector on this machine, and behind it a receiver that stores what comes.
start_collector() {
  local rotel ports
  rotel=$("$python" -c 'import pathlib, rotel; print(pathlib.Path(rotel.__file__).with_name("rotel-agent"))')
  ports=$("$python" -c '
import socket
held = [socket.socket() for _ in range(3)]
[s.bind(("0.0.0.0", 0)) for s in held]
print(*[s.getsockname()[1] for s in held])')
  read -r grpc http behind <<<"$ports"
  received=$work/received
  mkdir "$received"
  "$python" "$here/receiver.py" "127.0.0.1:$behind" "$received" &
  receiver_pid=$!
  "$rotel" start --exporter otlp --otlp-exporter-protocol grpc --otlp-exporter-endpoint "http://127.0.0.1:$behind" \
    --otlp-grpc-endpoint "0.0.0.0:$grpc" --otlp-http-endpoint "127.0.0.1:$http" >"$work/rotel.log" 2>&1 &
  rotel_pid=$!
  until_true 30 "the collector to listen" bash -c "exec 3<>/dev/tcp/127.0.0.1/$grpc"
  # The network of the services does not lead to it; override.yml has a way.
  export COLLECTOR_PORT=$grpc OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317
}

# All that a run left on the engine, by the number of its process.
left_by() {
  local of="label=com.docker.compose.project=bulkhead-test-$1"
  docker ps -aq --filter "$of" | sed 's/^/rm -f /'
  # A step of a build that failed, as one is meant to.
  docker ps -aq --filter "label=bulkhead.test=bulkhead-test-$1" | sed 's/^/rm -f /'
  docker volume ls -q --filter "$of" | sed 's/^/volume rm /'
  docker network ls -q --filter "$of" | sed 's/^/network rm /'
  docker images --format '{{.Repository}}:{{.Tag}}' | sed -nE "s#^localhost/bulkhead(/.*:test-$1|-test/[a-z]+:$1)\$#rmi -f &#p"
  docker images -q --filter "label=bulkhead.test=bulkhead-test-$1" | sort -u | sed 's/^/rmi -f /'
  [ ! -e "/sys/class/net/bh$1" ] || echo "link bh$1"
  ip netns list 2>/dev/null | sed -nE "s/^(bulkhead-test-$1)( .*)?\$/netns \1/p"
}

remove_left_by() {
  local kind rest
  # Twice: an image goes once nothing is made of it any more.
  for _ in 1 2; do
    left_by "$1" | while read -r kind rest; do
      case $kind in
        link | netns) ip "$kind" delete "$rest" ;;
        *) docker $kind $rest ;;
      esac
    done >/dev/null 2>&1 || true
  done
}

# Runs that were killed could not tidy up.
sweep() {
  local run
  for run in $({ docker ps -a --format '{{.Label "com.docker.compose.project"}}'
    docker ps -a --format '{{.Label "bulkhead.test"}}'
    docker volume ls --format '{{.Label "com.docker.compose.project"}}'
    docker network ls --format '{{.Label "com.docker.compose.project"}}'
    docker images --format '{{.Repository}}:{{.Tag}}' |
      sed -nE 's#^localhost/(bulkhead/[a-z-]+:test-|bulkhead-test/[a-z]+:)#bulkhead-test-#p'
  } | sed -nE 's/^bulkhead-test-([0-9]+)$/\1/p' | sort -u); do
    [ -d "/proc/$run" ] && continue
    echo "removing what run $run has left"
    remove_left_by "$run"
  done
}

tear_down() {
  local code=$? left
  set +e
  [ "$code" = 0 ] || compose logs --tail 40 >&2
  compose --profile demo --profile client down -v --remove-orphans >"$work/down.log" 2>&1
  for pid in "${receiver_pid:-}" "${rotel_pid:-}" "${elsewhere_pid:-}"; do
    [ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
  done
  remove_left_by $$
  left=$(left_by $$)
  rm -rf "$work"
  if [ -n "$left" ]; then echo "FAILED: left behind: $left" >&2; exit 1; fi
  [ "$code" = 0 ] && echo "ok: no container, volume, network or image is left"
  exit "$code"
}
