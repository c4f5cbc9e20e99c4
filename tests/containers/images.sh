# What the images hold. Sourced by `run`.
step "images"

layers() { docker image inspect -f '{{json .RootFS.Layers}}' "localhost/bulkhead/$1:$BULKHEAD_TAG"; }
contents() {
  local id
  id=$(docker create "localhost/bulkhead/$1:$BULKHEAD_TAG")
  docker export "$id" | tar -t | sed 's|/$||' | sort
  docker rm "$id" >/dev/null
}
small_enough() { [ "$(docker image inspect -f '{{.Size}}' "localhost/bulkhead/$1:$BULKHEAD_TAG")" -le "$2" ]; }

for program in model-router tool-executor approval audit command; do
  image=localhost/bulkhead/$program:$BULKHEAD_TAG
  size=$(docker image inspect -f '{{.Size}}' "$image")
  printf '%-14s %s bytes\n' "$program" "$size"
  claim "$program: at most 40 MB" small_enough "$program" 40000000
  claim "$program: runs as a user that is nobody else" equal "$(docker image inspect -f '{{.Config.User}}' "$image")" 65532:65532
  said=$(docker run --rm --network none "$image" --version)
  claim "$program: --version names the commit" contains "$said" "commit $BULKHEAD_COMMIT"
  name=$program
  [ "$program" = command ] && name=bulkhead
  # The engine itself adds what is not ours: dev, proc, sys, .dockerenv and files of the resolver.
  files=$(contents "$program" | grep -vE '^(\.dockerenv|dev|proc|sys)(/|$)|^etc/(hostname|hosts|mtab|resolv\.conf)$' |
    grep -vE '^(etc|etc/ssl|etc/ssl/certs|var|var/lib)$' | tr '\n' ' ')
  case $program in
    command) mounts="volumes volumes/agent volumes/approval volumes/audit volumes/authority volumes/identities volumes/model-router volumes/people volumes/tool-executor " ;;
    tool-executor) mounts="var/lib/bulkhead workspace " ;;
    *) mounts="var/lib/bulkhead " ;;
  esac
  expected=$(tr ' ' '\n' <<<"$name etc/ssl/certs/ca-certificates.crt $mounts" | sed '/^$/d' | sort | tr '\n' ' ')
  claim "$program: one program, the public authorities, mount points, and nothing else" equal "$files" "$expected"
done

claim "programs of another commit than the stated are not taken" \
  fails compose build --quiet --build-arg COMMIT=0000000000000000000000000000000000000000 audit
before=$(layers audit)
compose build --quiet --no-cache audit >"$work/again.log" 2>&1 || fail "the image does not build twice"
claim "the same programs make the same layers" equal "$(layers audit)" "$before"
