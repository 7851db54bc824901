#!/usr/bin/env bash
# Checks the numbers of a slide: measures the server, then the error of each number at that very load, with a mock as fast as the server.
# Exit status 3: the numbers are not to be shown. Usage: [URL=http://...] [USERS=8] [REQUESTS=120] check.sh
set -euo pipefail
LOAD=(--concurrency "${USERS:-8}" --requests "${REQUESTS:-120}" --input-tokens 200 --output-tokens 16)
if [ -z "${URL:-}" ]; then
  mkdir -p runs
  python -m mockserver --port 0 --ttft lognormal:mean=80ms,cv=0.3 --tpot 8ms >runs/mock.txt &
  trap 'kill %1' EXIT
  until URL="$(sed -n 's/^mockserver ready at //p' runs/mock.txt)" && [ -n "$URL" ]; do kill -0 $!; sleep 0.1; done
fi
python -m bench run --url "$URL" "${LOAD[@]}" --out runs/talk --quiet
# The mock gets the medians that the server had.
read -r ttft tpot < <(python - <<'EOF'
import json
latency = json.load(open("runs/talk/summary.json"))["latency"]
print(*(f"{latency[name]['p50']:.3f}ms" for name in ("ttft_ms", "tpot_ms")))
EOF
)
echo "the server: TTFT p50 $ttft, TPOT p50 $tpot; the same load against a mock with these times:"
python -m bench calibrate "${LOAD[@]}" --mock "--ttft lognormal:median=$ttft,sigma=0.3 --tpot $tpot" --out runs/talk-calibration --quiet
python -m bench report runs/talk --format markdown --quiet >runs/talk.md
echo "for the slide: runs/talk.md; the proof: runs/talk-calibration/certificate.html"
