#!/bin/bash
# Serves BFS-Prover-V2 with vLLM, and runs miniF2F with it: as published, on one GPU machine or on several.
#
#   docker/bfs-prover.sh run --mathlib PROJECT --statements miniF2F --out RUN [--split test] [--passes K] ...
#
# starts a server on this machine, waits until it answers, runs `prover eval run minif2f` with all the arguments, and
# stops the server. With a server that runs already (SERVER=http://…/v1), that one is asked. On several machines, a Ray
# cluster carries the searches, and each machine asks the server of its own GPU:
#
#   docker/bfs-prover.sh head                     # on the first: a server, and the head of the cluster
#   docker/bfs-prover.sh worker HEAD_ADDRESS      # on each other: a server, and a node of the cluster
#   docker/bfs-prover.sh run --ray auto ...       # on the first: all of them at work
#
# Environment: MODEL (ByteDance-Seed/BFS-Prover-V2-7B), PORT (8000), SERVER, GPUS (a model over so many: 1),
# START_SECONDS (1800: the first start downloads 15 GB). docs/serving.md has the published settings and their sources.
set -euo pipefail

MODEL=${MODEL:-ByteDance-Seed/BFS-Prover-V2-7B}
PORT=${PORT:-8000}
GPUS=${GPUS:-1}
START_SECONDS=${START_SECONDS:-1800}
LOCAL=http://127.0.0.1:$PORT

# 4 tactics a state at temperature 1.3, each counting the mean log-probability of its tokens, is what the prompt's
# template says (prover/decoder/templates.toml). A path's sum is divided by the square of its length; 600 s a theorem.
PUBLISHED=(--generator decoder --prompt bfs-prover --length-exponent 2 --seconds 600 --expansions 100000)

fail() { echo "bfs-prover: $*" >&2; exit 2; }

serve() {
    command -v vllm >/dev/null || fail "vllm is missing: pip install vllm==0.32.0 on a machine with a GPU"
    vllm serve "$MODEL" --host 127.0.0.1 --port "$PORT" --max-model-len 8192 --generation-config vllm \
        --enable-prefix-caching --enable-prompt-tokens-details --tensor-parallel-size "$GPUS" &
    server=$!
    trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
    for ((second = 0; second < START_SECONDS; second++)); do
        kill -0 "$server" 2>/dev/null || fail "the server ended before it answered: see its messages above"
        if answers "$LOCAL/health"; then return; fi
        sleep 1
    done
    fail "the server did not answer within $START_SECONDS s"
}

# Makes this machine a node of the cluster until the script ends.
join() {
    command -v ray >/dev/null || fail "ray is missing: pip install 'lean-prover[ray]'"
    trap 'ray stop >/dev/null; kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
    ray start "$@"
}

answers() { python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' "$1" 2>/dev/null; }

case ${1:-} in
run)
    shift
    model=${SERVER:-$LOCAL/v1}
    # The servers of a cluster's machines were started with it.
    case " $* " in *" --ray "*) ;; *) if [ -z "${SERVER:-}" ]; then serve; fi ;; esac
    prover eval run minif2f "${PUBLISHED[@]}" --model "$model" "$@"
    ;;
head)
    serve
    join --head
    echo "The cluster is ready: docker/bfs-prover.sh run --ray auto --mathlib PROJECT ... (Ctrl-C ends it)"
    wait "$server"
    ;;
worker)
    [ $# = 2 ] || fail "give the head's address: worker HEAD_ADDRESS:6379"
    serve
    join --address "$2"
    wait "$server"
    ;;
*)
    sed -n '/^#!/d; /^#/!q; s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
