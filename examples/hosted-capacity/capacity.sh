#!/usr/bin/env bash
# Finds the requests a second at which an endpoint keeps its objectives. Begins small, ends at BUDGET, never goes beyond MAX.
# Usage: [URL=https://...] [OPENAI_API_KEY=...] [BUDGET=20s] [MAX=40] [START=10] capacity.sh
set -euo pipefail
if [ -z "${URL:-}" ]; then
  mkdir -p runs
  python -m mockserver --port 0 --ttft 60ms --tpot 4ms --load-slowdown 0.05 >runs/mock.txt &
  trap 'kill %1' EXIT
  until URL="$(sed -n 's/^mockserver ready at //p' runs/mock.txt)" && [ -n "$URL" ]; do kill -0 $!; sleep 0.1; done
fi
# One user first: the path and the key are right, and this is what it can do when nothing else is asked of it.
python -m bench run --url "$URL" --concurrency 1 --requests 5 --input-tokens 100 --output-tokens 12 --out runs/one --quiet || test $? = 3
python -m bench search --url "$URL" --slo "ttft:p90<200ms" --slo "error_rate<5%" --input-tokens 100 --output-tokens 12 \
  --start "${START:-10}" --max "${MAX:-40}" --budget "${BUDGET:-20s}" --out runs/capacity
