# What a running container may do and see, as the kernel has it. Sourced by `run`.
step "confinement"

pid() { docker inspect -f '{{.State.Pid}}' "$(container "$1")"; }
status() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$(pid "$1")/status"; }
# Options of what is mounted at a path, within the container.
mounted() { awk -v at="$2" '$5 == at { split($6, options, ","); print options[1] }' "/proc/$(pid "$1")/mountinfo"; }
# Addresses of this machine that lead to a container.
bindings() { inspected "$1" '{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}'; }
networks() { inspected "$1" '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}'; }
inspected() { docker inspect -f "$2" "$(container "$1")"; }
keys() { (cd "/proc/$(pid "$1")/root/etc/bulkhead/keys" && ls | sort | tr '\n' ' '); }
# Running containers that mount a volume.
who_mounts() { docker ps -q --filter "volume=$(volume "$1")" | sort | tr '\n' ' '; }

for service in audit approval tool-executor model-router; do
  echo "$service: $(status $service VmRSS) kB resident"
  claim "$service: user 65532" equal "$(status $service Uid)" 65532
  claim "$service: no capability, and none to be had" equal "$(status $service CapEff) $(status $service CapBnd)" "0000000000000000 0000000000000000"
  claim "$service: no new privileges" equal "$(status $service NoNewPrivs)" 1
  claim "$service: read-only root, keys and identities" equal \
    "$(mounted $service /) $(mounted $service /etc/bulkhead) $(mounted $service /etc/bulkhead-identities)" "ro ro ro"
  claim "$service: a bound on memory" fails equal "$(inspected $service '{{.HostConfig.Memory}}')" 0
  claim "$service: started again unless stopped" equal "$(inspected $service '{{.HostConfig.RestartPolicy.Name}}')" unless-stopped
  claim "$service: answers for its health itself" contains "$(inspected $service '{{json .State.Health.Log}}')" "$service: serving"
  claim "$service: no shell" fails docker exec "$(container $service)" sh -c true
  claim "$service: publishes nothing itself" equal "$(bindings $service)" ""
  claim "$service: its folder is mounted by nobody else" equal "$(who_mounts $service-config)" "$(docker ps -q --filter "id=$(container $service)") "
done
claim "the door: for this machine alone" equal "$(bindings door)" "127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 "
claim "the door: no volume" equal "$(inspected door '{{json .Mounts}}')" "[]"
claim "only approval has the grant key" equal "$(keys approval)" "approval.token grant.key grant.pub "
claim "only audit has the log key" equal "$(keys audit)" "log.key log.pub "
claim "the executor has the public half" equal "$(keys tool-executor)" "grant.pub tool-executor.token "
claim "the router has neither" equal "$(keys model-router)" "model-router.token simulated-models.key "
claim "nobody who runs has the tokens of people" equal "$(who_mounts people)" ""
claim "the agent's token lies apart" equal "$(cd "$(docker volume inspect -f '{{.Mountpoint}}' "$(volume agent)")" && find . -type f | sort | tr '\n' ' ')" \
  "./bulkhead.toml ./certs/ca.crt ./tokens/agent "
claim "nobody who runs has the key of the authority" equal "$(who_mounts authority)" ""
claim "init ended well" equal "$(docker inspect -f '{{.State.ExitCode}}' "$(container init)")" 0
said=$(compose run -T --rm init 2>/dev/null)
claim "init, run again, changes nothing" contains "$said" "nothing was changed"

# Somewhere else: a host of its own beyond this machine, as a namespace, that knows no way to the engine's networks.
elsewhere=198.51.100.2
go_elsewhere() {
  local link=bh$$
  ip netns add "$project"
  ip link add "$link" type veth peer name "$link.e"
  ip link set "$link.e" netns "$project"
  ip address add 198.51.100.1/30 dev "$link"
  ip link set "$link" up
  ip netns exec "$project" ip address add "$elsewhere/30" dev "$link.e"
  ip netns exec "$project" ip link set "$link.e" up
  ip netns exec "$project" "$python" -m http.server --bind "$elsewhere" 80 >/dev/null 2>&1 &
  elsewhere_pid=$!
  until_true 20 "somebody to listen elsewhere" timeout 2 bash -c "exec 3<>/dev/tcp/$elsewhere/80"
}
# With the network of a container, and the programs of this machine.
reaches() { nsenter --target "$(pid "$1")" --net timeout 3 bash -c "exec 3<>/dev/tcp/$2/$3"; }

go_elsewhere
claim "the network of the services is internal" equal "$(docker network inspect -f '{{.Internal}}' "${project}_services")" true
claim "the router reaches models elsewhere" reaches model-router "$elsewhere" 80
for service in audit approval tool-executor provider-simulator; do
  claim "$service: in no other network" equal "$(networks $service)" "${project}_services "
  claim "$service: reaches nothing elsewhere" fails reaches $service "$elsewhere" 80
done
