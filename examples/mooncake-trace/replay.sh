#!/usr/bin/env bash
# Replays a trace in Mooncake's format: its times, its lengths, its shared prefixes. Usage: [URL=...] [TRACE=file.jsonl] [SPEED=1] replay.sh
set -euo pipefail
TRACE="${TRACE:-$(dirname "$0")/trace.jsonl}"
if [ -z "${URL:-}" ]; then
  mkdir -p runs
  python -m mockserver --port 0 --engine batching --step-cost qwen2.5-7b-h100 >runs/mock.txt &
  trap 'kill %1' EXIT
  until URL="$(sed -n 's/^mockserver ready at //p' runs/mock.txt)" && [ -n "$URL" ]; do kill -0 $!; sleep 0.1; done
fi
python -m bench run --url "$URL" --mode trace --dataset "$TRACE" --trace-speed "${SPEED:-1}" --out runs/trace || test $? = 3
