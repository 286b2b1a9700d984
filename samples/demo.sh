#!/bin/sh
# Two nights of the Contoso tenant, from an empty folder to CSV files that follow what happens in Entra.
# A simulated Microsoft Graph answers over real HTTP on this machine; nothing else is contacted and nothing is asked.
# Run it with `make demo`, which builds the two programs first. Ends with 0 if every step ended as it should.
set -eu

# The folder, and the functions say, fail, serve and step.
demo=demo
. "$(dirname "$0")/common.sh"
trap 'end "$graph"' EXIT
trap 'exit 130' INT TERM

# Serves one night, and points the job at it.
night() {
    serve "$1"
    cat > "$out/contoso.toml" <<JOB
format  = "job/1"
extends = "$samples/contoso/contoso.toml"
[source]
authority = "$found"
graph     = "$found"
[target]
path = "$out/export"
[state]
dir = "$out/state"
JOB
}

# A file of the export has a line that matches.
holds() { grep -q "$2" "$out/export/$1" || fail "$1 has no line with $2"; }
lacks() { ! grep -q "$2" "$out/export/$1" || fail "$1 still has a line with $2"; }

say "Night one: the company's directory answers over HTTP."
night night-1

say "Dry run: what would be imported? Nothing is written."
step 0 2024-01-01T02:00:00Z run contoso.toml --dry-run > "$out/night-1.txt"
sed -n '1,40p' "$out/night-1.txt"
printf '      … (all of it: target/demo/night-1.txt)\n'
tail -n 1 "$out/night-1.txt"
[ ! -e "$out/export" ] || fail "the dry run wrote $out/export"

say "The import: seven CSV files."
step 0 2024-01-01T02:00:00Z run contoso.toml
(cd "$out/export" && wc -l -- *.csv)
holds users.csv ',Nestor Wilke,.*,Active'

say "Night two: people came, changed and left in Entra since."
night night-2

say "Dry run: creates (+), updates (~), leavers flagged (!), memberships that ended (-), each with its cause."
step 8 2024-01-02T02:00:00Z plan contoso.toml --detailed-exitcode > "$out/night-2.txt"
cat "$out/night-2.txt"
for line in '+ Brian Johnson' '~ Adele Vance' '! Nestor Wilke' '- Alex Wilber in Project Alpha'; do
    grep -qF "  $line (" "$out/night-2.txt" || fail "the plan of night two does not show $line"
done

say "The import of night two: only the difference is written."
step 0 2024-01-02T02:00:00Z run contoso.toml
holds users.csv ',Nestor Wilke,.*,Left'
holds users.csv ',Brian Johnson,.*,Active'
lacks memberships.csv ',Project Alpha,.*,Alex Wilber,'

say "Once more: nothing has changed, so nothing is written."
before=$(cat "$out"/export/*.csv | cksum)
step 0 2024-01-02T02:00:00Z run contoso.toml
[ "$before" = "$(cat "$out"/export/*.csv | cksum)" ] || fail "a second run changed the files"

say "Done. The files: target/demo/export/*.csv; the job: samples/contoso/contoso.toml"
