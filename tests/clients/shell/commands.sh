#!/usr/bin/env bash
# The command line, as the README shows it. Needs `bulkhead` on the PATH, and `up --simulate` on ./bulkhead-data.
set -euo pipefail

# README: begin
bulkhead tools plan fs.write path=a.txt content=one    # what would happen; nothing is written
bulkhead tools run fs.write path=a.txt content=one     # creating is free
bulkhead tools run fs.append path=a.txt content=more   # so is what loses nothing, as moving does
bulkhead tools run fs.write path=a.txt content=two || [ $? = 3 ]   # overwriting waits for a person: 3

id=$(bulkhead approvals ls --json | sed -n 's/.*"approval_id": "\(.*\)".*/\1/p' | head -1)
bulkhead approvals show "$id"                          # the complete plan, with its diff
bulkhead approvals approve "$id" --yes                 # at a terminal, without --yes, it asks

bulkhead models explain --sensitivity credentials      # only local models would be asked
bulkhead budgets ls                                    # what was spent, where budgets are configured
bulkhead agent run "summarise the folder" --steps-max 5
bulkhead audit query --since 1h --kind tool.
# README: end
