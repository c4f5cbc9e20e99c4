# The lines of docs/operations.md, "Backup and restore", as they stand there. Sourced by `run`.
step "backup and restore"

# The Nth block of commands of that section.
documented() {
  "$python" - "$repository/docs/operations.md" "$1" <<'P'
import pathlib, re, sys
section = pathlib.Path(sys.argv[1]).read_text().split("\n## Backup and restore\n")[1].split("\n## ")[0]
print(re.findall(r"```sh\n(.*?)```", section, re.S)[int(sys.argv[2])])
P
}
# Runs it where the document would have it run. `docker compose` is that of this run; all else is the engine's.
follow() {
  docker() { if [ "$1" = compose ]; then shift; compose --profile demo "$@"; else command docker "$@"; fi; }
  pushd "$work" >/dev/null
  documented "$1" >commands
  . ./commands >"$work/followed.log" 2>&1
  popd >/dev/null
  unset -f docker
}

executions() { tools executions ls --json; }
until_true 30 "the last outcome on record" succeeded "$marked"
was=$(executions) asked=$(approvals approvals ls --state all --json)
tar_image=$BULKHEAD_BUILDER
follow 0
compose --profile demo down -v >/dev/null 2>&1
claim "nothing is left of it" equal "$(docker volume ls -q --filter "name=${project}_")" ""
follow 1
for service in audit approval tool-executor model-router; do
  until_true 60 "the restored $service to be healthy" healthy "$(container $service)"
done
claim "executions are as they were" equal "$(executions)" "$was"
claim "approvals are as they were" equal "$(approvals approvals ls --state all --json)" "$asked"
claim "the workspace is as it was" exits 0 tools tools run fs.read path=moved.txt
claim "an old call can be undone" exits 0 tools executions undo "$marked"
compose stop audit >/dev/null 2>&1
docker cp "$(container audit)":/var/lib/bulkhead "$work/audit" >/dev/null
claim "the log verifies, in its old key" exits 0 "$dist/bulkhead" audit verify "$work/audit" --key "$people/keys/log.pub"
