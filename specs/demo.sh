#!/bin/sh
# One compile from images to a verified artifact, in the folder $DEMO below this one, with the commands of $BIN;
# every command is one a user would type.
set -eu

export KOLM_HOME="$PWD/$DEMO/home" HF_HUB_OFFLINE=1
# One thread: matrices this small gain nothing from a second one, and waiting for it on a busy machine costs
# a multiple (specs/decisions/0006-one-thread-for-tiny-models.md).
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
rm -rf "$DEMO"
mkdir -p "$DEMO"

PATH="$BIN:$PATH"

step() {
    printf '\n$'
    for word in "$@"; do
        case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    "$@"
}

step kolm init --demo digits "$DEMO/digits"

: >"$DEMO/registry.log"  # it is read below, perhaps before the server has started
kolm registry serve --port "$PORT" --data "$DEMO/registry" >"$DEMO/registry.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT INT TERM
url=
while [ -z "$url" ]; do
    kill -0 $server 2>/dev/null || { cat "$DEMO/registry.log" >&2; exit 5; }
    url=$(sed -n 's/^registry on \(http[^ ]*\).*/\1/p' "$DEMO/registry.log")
    [ -n "$url" ] || sleep 0.1
done

step kolm compile "$DEMO/digits/spec.yaml" --out "$DEMO/out" --registry "$url"

cid=$(kolm inspect "$DEMO/out/digits.kolm" --json 2>/dev/null | sed -n 's/.*"cid": "\([a-z0-9]*\)".*/\1/p')
step kolm search --registry "$url" --frozen visual.merger
step kolm pull "$cid" --registry "$url" --out "$DEMO/pulled"
step kolm verify "$DEMO/pulled/digits.kolm"
step kolm run "$DEMO/pulled/digits.kolm" --image "$(ls "$DEMO"/digits/eval/images/*.png | head -n 1)" \
    --prompt "Which digit is written in this picture? Answer with one word."
