# What a running container may do and see, as the kernel has it. Sourced by `run`.
step "confinement"

pid() { docker inspect -f '{{.State.Pid}}' "$(container "$1")"; }
status() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$(pid "$1")/status"; }
# Options of what is mounted at a path, within the container.
mounted() { awk -v at="$2" '$5 == at { split($6, options, ","); print options[1] }' "/proc/$(pid "$1")/mountinfo"; }
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
  claim "$service: published for this machine alone" contains \
    "$(inspected $service '{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}')" "127.0.0.1 "
  claim "$service: published nowhere else" fails contains \
    "$(inspected $service '{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}} {{end}}{{end}}')" "0.0.0.0"
  claim "$service: its folder is mounted by nobody else" equal "$(who_mounts $service-config)" "$(docker ps -q --filter "id=$(container $service)") "
done
claim "only approval has the grant key" equal "$(keys approval)" "approval.token grant.key grant.pub "
claim "only audit has the log key" equal "$(keys audit)" "log.key log.pub "
claim "the executor has the public half" equal "$(keys tool-executor)" "grant.pub tool-executor.token "
claim "the router has neither" equal "$(keys model-router)" "model-router.token simulated-models.key "
claim "nobody who runs has the tokens of people" equal "$(who_mounts people)" ""
claim "nobody who runs has the key of the authority" equal "$(who_mounts authority)" ""
claim "init ended well" equal "$(docker inspect -f '{{.State.ExitCode}}' "$(container init)")" 0
said=$(compose run -T --rm init 2>/dev/null)
claim "init, run again, changes nothing" contains "$said" "nothing was changed"
