#!/usr/bin/env bash
# Compares two servers that differ in a flag, in turn: A B, B A, A B. Without A_URL and B_URL, two mocks that batch as vLLM does.
# Usage: [A_URL=http://... B_URL=http://...] [PAIRS=3] [REQUESTS=60] compare.sh
set -euo pipefail
mkdir -p runs
serve() { # NAME FLAGS...: starts a mock and waits until it is ready
  python -m mockserver --port 0 --engine batching --step-cost b0=4000,b1=20,b2=100,a0=1000 "${@:2}" >"runs/$1.txt" &
  until grep -q ready "runs/$1.txt"; do kill -0 $!; sleep 0.1; done
}
if [ -z "${A_URL:-}" ]; then
  trap 'kill $(jobs -p)' EXIT
  serve a --max-num-batched-tokens 256
  serve b --max-num-batched-tokens 2048
  A_URL="$(sed 's/.* at //' runs/a.txt)" B_URL="$(sed 's/.* at //' runs/b.txt)"
fi
for side in a b; do
  [ "$side" = a ] && url="$A_URL" || url="$B_URL"
  cat >"runs/$side.yaml" <<EOF
url: $url
concurrency: 6
requests: ${REQUESTS:-60}
input_tokens: uniform:100..600
output_tokens: "16"
EOF
done
python -m bench compare --run runs/a.yaml runs/b.yaml --pairs "${PAIRS:-3}" --out runs/flags
