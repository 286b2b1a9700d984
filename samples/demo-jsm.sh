#!/bin/sh
# Two nights of the Contoso tenant into Jira Service Management Assets, and what a person edits there in between.
# A simulated Microsoft Graph and a simulated Assets answer over real HTTP on this machine; nothing else is contacted and
# nothing is asked. Run it with `make demo-jsm`, which builds the programs first. Ends with 0 if every step ended as it
# should.
set -eu

# The folder, and the functions say, fail, address, serve and step.
demo=demo-jsm
. "$(dirname "$0")/common.sh"
assets=
trap 'end "$graph"; end "$assets"' EXIT
trap 'exit 130' INT TERM

# Serves one night, and points the job at both simulators.
night() {
    serve "$1"
    cat > "$out/contoso.toml" <<JOB
format  = "job/1"
extends = "$samples/jsm-assets/contoso.toml"
[source]
authority = "$found"
graph     = "$found"
[target]
site = "$jira"
api  = "$jira"
[state]
dir = "$out/state"
JOB
}

# Tells the simulated Assets something, and shows its answer.
assets() {
    lines=$(wc -l < "$out/assets")
    printf '%s\n' "$1" >&3
    tries=0
    while [ "$(wc -l < "$out/assets")" -eq "$lines" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || fail "no answer to $1"
        sleep 0.05
    done
    answer=$(tail -n 1 "$out/assets")
}

holds() { case $answer in *"$1"*) ;; *) fail "Assets does not hold $1: $answer" ;; esac; }

# The simulated Assets' own secret. A job only names the variable.
export JIRA_TOKEN='classic-token'

mkfifo "$out/control"
: > "$out/assets"
"$programs/jsm-sim" --control < "$out/control" > "$out/assets" 2> "$out/assets.log" &
assets=$!
exec 3> "$out/control"
address jsm-sim "$out/assets" "$assets"
jira=$found

say "An empty Assets. What would it need?"
night night-1
step 0 2024-01-01T01:00:00Z setup contoso.toml --dry-run > "$out/setup.txt"
sed -n '1,8p' "$out/setup.txt"
printf '      … (all of it: target/demo-jsm/setup.txt)\n'

say "Set up: schema, object types, attributes, statuses. A second time there is nothing to make."
step 0 2024-01-01T01:00:00Z setup contoso.toml > "$out/made.txt"
step 0 2024-01-01T01:00:00Z setup contoso.toml

say "Dry run of night one: every reference is an object to come. Nothing is written."
step 0 2024-01-01T02:00:00Z run contoso.toml --dry-run > "$out/night-1.txt"
sed -n '1,30p' "$out/night-1.txt"
printf '      … (all of it: target/demo-jsm/night-1.txt)\n'

say "The import."
step 0 2024-01-01T02:00:00Z run contoso.toml
assets 'show|User'
holds '"Name":["Nestor Wilke"]'
holds '"Sync Status":["Active"]'

say "A person changes a job title in Jira; and night two: people came, changed and left in Entra since."
assets 'set|User|Adele Vance|Office Location|Home office'
night night-2
step 0 2024-01-02T02:00:00Z plan contoso.toml > "$out/night-2.txt"
cat "$out/night-2.txt"
grep -qF 'Home office' "$out/night-2.txt" || fail "the plan does not tell of the edit"

say "The import of night two: only the difference is written, and the edit stays."
assets counters
step 0 2024-01-02T02:00:00Z run contoso.toml
assets counters
printf 'Assets was asked: %s\n' "$answer"
assets 'show|User'
holds '"Sync Status":["Removed from source"]'
holds '"Office Location":["Home office"]'
holds '"Name":["Brian Johnson"]'

say "Once more: nothing has changed, so nothing is written."
step 0 2024-01-02T03:00:00Z run contoso.toml
assets counters
holds '"writes":0'

exec 3>&-
say "Done. The job: samples/jsm-assets/contoso.toml"
