# What the demonstrations share; they source it. Sets root, samples, programs and, made anew, the folder out:
# target/$demo, which git ignores.

root=$(cd "$(dirname "$0")/.." && pwd)
samples=$root/samples
programs=${CARGO_TARGET_DIR:-$root/target}/debug
out=$root/target/$demo
rm -rf "$out"
mkdir -p "$out"

# The simulated Graph's own secret. A job only names the variable.
export ENTRA_SECRET='Sim8Q~secret+with/odd=chars&more'

say() { if [ -t 1 ]; then printf '\n\033[1m== %s\033[0m\n' "$*"; else printf '\n== %s\n' "$*"; fi; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }

# Ends a simulator by its process id, if there is one.
end() { [ -z "$1" ] || { kill "$1" 2>/dev/null || true; wait "$1" 2>/dev/null || true; }; }

# Waits for the address that a simulator prints ("NAME: http://…") into a file, and leaves it in found.
address() {
    tries=0
    while ! found=$(sed -n "s/^$1: //p" "$2") || [ -z "$found" ]; do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] && kill -0 "$3" 2>/dev/null || { cat "$2.log" >&2; fail "$1 did not start"; }
        sleep 0.05
    done
}

# Serves one night of the Contoso tenant on a free port, in place of the one before, and leaves the address in found.
graph=
serve() {
    end "$graph"
    : > "$out/graph"
    "$programs/graph-sim" --from "$samples/contoso/$1" > "$out/graph" 2> "$out/graph.log" &
    graph=$!
    address graph-sim "$out/graph" "$graph"
}

# Runs the program as of a time, shows the command, and checks how it ended.
step() {
    expected=$1 time=$2
    shift 2
    printf '$ entra-import %s\n' "$*" >&2
    ended=0
    (cd "$out" && ENTRA_IMPORT_AS_OF=$time "$programs/entra-import" "$@") || ended=$?
    [ "$ended" -eq "$expected" ] || fail "entra-import $* ended with exit code $ended, expected $expected"
}
