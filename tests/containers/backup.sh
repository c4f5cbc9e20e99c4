# docs/operations.md, "Backup and restore", step by step. Sourced by `run`.
step "backup and restore"

volumes="audit-config approval-config tool-executor-config model-router-config identities people authority
  audit-data approval-data tool-executor-data workspace"
# tar of the stand-in image; for people any image with a tar does.
tarred() { docker run --rm --network none -v "$(volume "$1")":/volume -v "$work/backup":/backup "$BUILDER_IMAGE" "${@:2}"; }

mkdir "$work/backup"
executions() { tools executions ls --json; }
until_true 30 "the last outcome on record" succeeded "$marked"
was=$(executions) asked=$(approvals approvals ls --state all --json)
compose --profile demo stop >/dev/null 2>&1
for volume in $volumes; do
  tarred "$volume" tar -C /volume --numeric-owner -cf "/backup/$volume.tar" . || fail "$volume was not saved"
done
compose --profile demo down -v >/dev/null 2>&1
claim "nothing is left of it" equal "$(docker volume ls -q --filter "name=${project}_")" ""

for volume in $volumes; do
  docker volume create --label "com.docker.compose.project=$project" --label "com.docker.compose.volume=$volume" \
    "$(volume "$volume")" >/dev/null
  tarred "$volume" tar -C /volume --numeric-owner -xf "/backup/$volume.tar" || fail "$volume was not restored"
done
compose --profile demo up -d >"$work/up.log" 2>&1 || { cat "$work/up.log" >&2; fail "the restored stack does not start"; }
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
